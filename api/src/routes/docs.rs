//! The OpenAPI document, its interactive page and the catalogue of problems, all served from this binary: the page
//! loads nothing from anywhere else, and its policy would not let it.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::Path,
    http::header,
    response::{Html, IntoResponse, Redirect, Response},
};
use bulkhead_kernel::fault::Code;
use utoipa_swagger_ui::Config;

use crate::{
    openapi,
    problem::{Problem, status},
};

/// Scripts and styles of our own; Swagger UI sets styles from its script and has its icons as data.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The page of problems is text.
const TEXT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// `GET /openapi.json`
pub async fn openapi() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, openapi::served()).into_response()
}

/// `GET /docs`
pub async fn to_page() -> Redirect {
    Redirect::permanent("/docs/")
}

/// `GET /docs/`
pub async fn page() -> Result<Response, Problem> {
    asset(Path("index.html".to_owned())).await
}

/// `GET /docs/{file}`
pub async fn asset(Path(file): Path<String>) -> Result<Response, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        // The validator would be a service on the internet.
        Arc::new(
            Config::from("/openapi.json")
                .validator_url("none")
                .try_it_out_enabled(true),
        )
    });
    let found = utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG));
    let found = found.map_err(|error| Problem::internal(error.to_string()))?;
    let file = found.ok_or_else(|| Problem::with_detail(Code::NotFound, "There is no such path."))?;
    let headers = [
        (header::CONTENT_TYPE, file.content_type.as_str()),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, file.bytes.into_owned()).into_response())
}

/// `GET /problems`: what the `type` of a problem links to.
pub async fn problems() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let mut page = String::from(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Problems</title>\
             <style>body{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}:target{background:#ffc}\
             </style><h1>Problems</h1><dl>",
        );
        for code in Code::ALL {
            let (name, status) = (code.as_str(), status(code.kind()).as_u16());
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "<dt id=\"{name}\"><code>{name}</code> ({status})</dt><dd>{}</dd>",
                code.title()
            );
        }
        page + "</dl></html>\n"
    });
    let headers = [
        (header::CONTENT_SECURITY_POLICY, TEXT_POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE.as_str())).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_page_loads_everything_from_here_and_may_load_nothing_else() {
        let page = page().await.unwrap();
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("http"),
            "{policy}"
        );
        let html = text(page).await;
        assert!(!html.contains("://"), "{html}");
        let attributes = html.split(['"', '\'']);
        let links = attributes.filter(|part| [".js", ".css"].iter().any(|ending| part.ends_with(ending)));
        let files: Vec<&str> = links.map(|link| link.trim_start_matches("./")).collect();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            assert!(asset(Path(file.to_owned())).await.is_ok(), "{file}");
        }
        let start = text(asset(Path("swagger-initializer.js".into())).await.unwrap()).await;
        assert!(
            start.contains(r#""url": "/openapi.json""#) && !start.contains("://"),
            "{start}"
        );
        assert_eq!(
            asset(Path("../main.rs".into())).await.unwrap_err().code(),
            Code::NotFound
        );
    }

    #[tokio::test]
    async fn every_problem_can_be_looked_up() {
        let page = text(problems().await).await;
        for code in Code::ALL {
            assert!(page.contains(&format!("id=\"{}\"", code.as_str())), "{}", code.as_str());
        }
    }
}
