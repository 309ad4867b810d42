//! Faults as HTTP answers: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! A problem leaves its handler as an extension of an empty answer; the observer of the request (middleware) writes the
//! body, because only there the id of the request is known, and logs the cause of a 5xx, once.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_kernel::fault::{Code, Fault, Kind, Violation};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every answer that is not a success.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refused or failed request. Anything that is a [`Fault`] becomes one through `?`.
#[derive(Debug, Clone)]
pub struct Problem(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    code: Code,
    detail: Cow<'static, str>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    /// The chain of errors behind it, for the log only.
    cause: Option<String>,
}

impl Problem {
    /// The problem of a code, with nothing more to say than its title.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self::with_detail(code, code.title())
    }

    /// The problem of a code, with a sentence on what happened this time.
    #[must_use]
    pub fn with_detail(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Content {
            code,
            detail: detail.into(),
            violations: Vec::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// A request that breaks rules, each named with its place.
    #[must_use]
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let mut problem = Self::new(Code::Validation);
        problem.0.violations = violations;
        problem
    }

    /// Our own fault, with what we know of it for the log.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(Code::Internal);
        problem.0.cause = Some(cause.into());
        problem
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status(self.0.code.kind())
    }

    /// What the log should know and the caller must not.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The body, for the request with this id; `public_url` is where the catalogue of problems is served.
    #[must_use]
    pub fn body(&self, public_url: &str, request_id: &str) -> ProblemBody {
        let code = self.0.code;
        ProblemBody {
            kind: format!("{public_url}/problems#{}", code.as_str()),
            title: code.title(),
            status: self.status().as_u16(),
            detail: self.0.detail.clone(),
            instance: format!("urn:bulkhead:request:{request_id}"),
            code: code.as_str(),
            errors: self.0.violations.iter().map(ViolationBody::from).collect(),
        }
    }
}

impl<E: Fault> From<E> for Problem {
    fn from(fault: E) -> Self {
        let code = fault.code();
        let is_ours = status(code.kind()).is_server_error();
        Self(Box::new(Content {
            code,
            detail: if is_ours {
                Cow::Borrowed(code.title())
            } else {
                fault.detail()
            },
            violations: fault.violations(),
            retry_after: fault.retry_after(),
            cause: is_ours.then(|| chain(&fault)),
        }))
    }
}

/// The one table from kinds to statuses.
#[must_use]
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden | Kind::QuotaReached => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error and its sources, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.0.code.kind() {
            Kind::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, challenge(self.0.code));
            }
            Kind::Unavailable | Kind::RateLimited => {
                let secs = self.0.retry_after.map_or(1, |wait| wait.as_secs().max(1));
                headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// What RFC 6750, section 3 asks for: no error code when no token was sent.
fn challenge(code: Code) -> HeaderValue {
    HeaderValue::from_static(match code {
        Code::TokenInvalid | Code::TokenExpired | Code::SessionEnded => {
            r#"Bearer realm="bulkhead", error="invalid_token""#
        }
        _ => r#"Bearer realm="bulkhead""#,
    })
}

/// A problem as it goes over the wire (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "http://127.0.0.1:8080/problems#validation")]
    kind: String,
    /// One sentence; the same for every occurrence of the code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: Cow<'static, str>,
    /// The request, by its id.
    #[schema(example = "urn:bulkhead:request:0190a1b2c3d4")]
    instance: String,
    /// The stable code; programs decide by it.
    #[schema(example = "validation")]
    code: &'static str,
    /// What is wrong with the request, one entry per place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ViolationBody>,
}

/// One thing wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Violation)]
pub struct ViolationBody {
    /// JSON pointer (RFC 6901) into the body, or the name of a parameter.
    #[schema(example = "/email")]
    pointer: String,
    /// What is wrong there.
    #[schema(example = "not an e-mail address")]
    detail: String,
}

impl From<&Violation> for ViolationBody {
    fn from(violation: &Violation) -> Self {
        Self {
            pointer: violation.pointer.clone(),
            detail: violation.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Broken(std::io::Error);

    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot read the disk")
        }
    }

    impl std::error::Error for Broken {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    impl Fault for Broken {
        fn code(&self) -> Code {
            Code::Internal
        }

        fn detail(&self) -> Cow<'static, str> {
            "relation t_1.vms does not exist".into()
        }
    }

    #[test]
    fn a_5xx_keeps_its_cause_for_the_log() {
        let problem = Problem::from(Broken(std::io::Error::other("sector 7")));
        assert_eq!(problem.cause(), Some("cannot read the disk: sector 7"));
        let body = serde_json::to_string(&problem.body("http://x", "r1")).unwrap();
        assert!(
            !body.contains("disk") && !body.contains("sector") && !body.contains("relation"),
            "{body}"
        );
    }

    #[test]
    fn the_body_is_what_rfc_9457_says() {
        let problem = Problem::invalid(vec![Violation::new("/email", "not an e-mail address")]);
        assert_eq!(
            serde_json::to_value(problem.body("http://x", "r1")).unwrap(),
            serde_json::json!({
                "type": "http://x/problems#validation",
                "title": "The request breaks a rule; see errors.",
                "status": 422,
                "detail": "The request breaks a rule; see errors.",
                "instance": "urn:bulkhead:request:r1",
                "code": "validation",
                "errors": [{"pointer": "/email", "detail": "not an e-mail address"}],
            })
        );
    }

    #[test]
    fn an_unauthenticated_caller_is_challenged_and_an_early_one_told_when() {
        let response = Problem::new(Code::TokenExpired).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains("invalid_token"), "{challenge}");

        let response = Problem::new(Code::Unauthenticated).into_response();
        assert!(
            !response.headers()[header::WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .contains("error")
        );

        let response = Problem::new(Code::DatabaseUnavailable).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn every_code_is_a_client_or_a_server_error() {
        for code in Code::ALL {
            let status = status(code.kind());
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{}",
                code.as_str()
            );
        }
    }
}
