use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::{
    extract::{Json, JsonOrForm, OptionalJson},
    problem::Problem,
};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

fn settings() -> config::Server {
    config::Server {
        listen: "127.0.0.1:0".parse().unwrap(),
        internal_listen: "127.0.0.1:0".parse().unwrap(),
        public_url: "http://api.test".into(),
        max_connections: 4,
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_millis(100),
        write_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_millis(1500),
        max_body_bytes: 64,
        shutdown_grace: Duration::from_secs(5),
        cors_allowed_origins: vec!["https://app.test".into()],
        trust_traceparent: false,
    }
}

async fn panics() -> &'static str {
    panic!("the secret of the panic")
}

fn app() -> Router {
    let router = Router::new()
        .route("/json", post(|Json(note): Json<Note>| async move { note.text }))
        .route(
            "/either",
            post(|JsonOrForm(note): JsonOrForm<Note>| async move { note.text }),
        )
        .route(
            "/optional",
            post(|OptionalJson(note): OptionalJson<Note>| async move { note.text }),
        )
        .route("/panic", get(panics))
        .route("/slow", get(std::future::pending::<()>))
        .route("/own", get(|| async { Problem::internal("the secret cause") }));
    surround(router, RequestLimits::of(&settings()), &settings())
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn problem(&self) -> Value {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        let problem: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(
            problem["type"],
            format!("http://api.test/problems#{}", problem["code"].as_str().unwrap())
        );
        let id = self.headers["x-request-id"].to_str().unwrap();
        assert_eq!(problem["instance"], format!("urn:bulkhead:request:{id}"));
        problem
    }

    fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

async fn send(request: Request<Body>) -> Answer {
    let response = app().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

async fn call(method: Method, path: &str) -> Answer {
    send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

async fn post_as(path: &str, media_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", media_type);
    send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let answer = call(Method::GET, "/nowhere").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::NOT_FOUND, "not_found")
    );

    let answer = call(Method::DELETE, "/slow").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn a_panic_and_a_failure_of_ours_tell_nothing() {
    for path in ["/panic", "/own"] {
        let answer = call(Method::GET, path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        );
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_request_and_its_body_have_deadlines() {
    let answer = call(Method::GET, "/slow").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::REQUEST_TIMEOUT, "request_timeout")
    );

    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let started = std::time::Instant::now();
    let answer = post_as("/json", "application/json", never).await;
    assert_eq!(answer.code(), "request_timeout");
    assert!(
        started.elapsed() < settings().request_timeout,
        "the body has a deadline of its own"
    );
}

#[tokio::test]
async fn bodies_are_checked_for_type_size_and_shape() {
    let good = r#"{"text":"hello"}"#;
    for media_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/merge-patch+json",
    ] {
        assert_eq!(post_as("/json", media_type, good).await.text, "hello", "{media_type}");
    }
    for media_type in [
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let answer = post_as("/json", media_type, good).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (415, "unsupported_media_type"),
            "{media_type}"
        );
    }
    let answer = post_as("/json", "application/json", "{").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (400, "malformed_json")
    );

    let answer = post_as("/json", "application/json", r#"{"text":"a","other":1}"#).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.problem()["errors"][0]["pointer"]),
        (422, &Value::from("/other"))
    );
}

#[tokio::test]
async fn a_large_body_is_refused_with_and_without_a_length() {
    let large = format!(r#"{{"text":"{}"}}"#, "a".repeat(100));
    let announced = Request::post("/json")
        .header("content-type", "application/json")
        .header("content-length", "112");
    let chunked = Request::post("/json").header("content-type", "application/json");
    for request in [announced, chunked] {
        let answer = send(request.body(Body::from(large.clone())).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (413, "body_too_large")
        );
    }
}

#[tokio::test]
async fn a_form_is_as_good_as_json_where_both_are_taken() {
    let answer = post_as("/either", "application/x-www-form-urlencoded", "text=a+b%26").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "a b&"));
    assert_eq!(
        post_as("/either", "application/json", r#"{"text":"x"}"#).await.text,
        "x"
    );
    let answer = post_as("/either", "application/x-www-form-urlencoded", "text=a&more=b").await;
    assert_eq!(answer.problem()["errors"][0]["pointer"], "/more");
    assert_eq!(post_as("/either", "text/plain", "text=a").await.status.as_u16(), 415);
}

#[tokio::test]
async fn an_optional_body_may_be_left_out_but_not_be_nonsense() {
    assert_eq!(call(Method::POST, "/optional").await.status, StatusCode::OK);
    assert_eq!(
        post_as("/optional", "application/json", r#"{"text":"x"}"#).await.text,
        "x"
    );
    assert_eq!(post_as("/optional", "text/plain", "x").await.status.as_u16(), 415);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_the_request_id() {
    for (path, status) in [("/own", 500), ("/nowhere", 404)] {
        let request = Request::get(path)
            .header("x-request-id", "web-1")
            .body(Body::empty())
            .unwrap();
        let answer = send(request).await;
        assert_eq!(answer.status.as_u16(), status);
        let headers = &answer.headers;
        assert_eq!(headers["x-request-id"], "web-1");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
        assert_eq!(headers["cache-control"], "no-store");
        assert!(
            headers["strict-transport-security"]
                .to_str()
                .unwrap()
                .contains("max-age=")
        );
        assert!(!headers.contains_key("server"));
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_answers() {
    for (origin, is_allowed) in [("https://app.test", true), ("https://evil.test", false)] {
        let preflight = Request::builder()
            .method(Method::OPTIONS)
            .uri("/json")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-org-id");
        let answer = send(preflight.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.headers.contains_key("access-control-allow-origin"),
            is_allowed,
            "{origin}"
        );

        let request = Request::get("/nowhere")
            .header("origin", origin)
            .body(Body::empty())
            .unwrap();
        let answer = send(request).await;
        assert_eq!(
            answer.headers.contains_key("access-control-allow-origin"),
            is_allowed,
            "{origin}"
        );
    }
}
