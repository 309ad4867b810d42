//! Which page of a list is wanted.

use axum::{extract::FromRequestParts, http::request::Parts};
use bulkhead_kernel::{fault::Violation, page::PageRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Query;
use crate::problem::Problem;

/// `?page=1&limit=20` as a checked [`PageRequest`].
#[derive(Debug, Clone, Copy)]
pub struct Paging(pub PageRequest);

/// The parameters of every list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The page, from 1.
    #[serde(default = "first_page")]
    #[param(default = 1, minimum = 1, maximum = 100_000)]
    page: u32,
    /// The most items on it.
    #[serde(default = "usual_limit")]
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: u32,
}

const fn first_page() -> u32 {
    1
}

const fn usual_limit() -> u32 {
    20
}

impl TryFrom<PageQuery> for Paging {
    type Error = Problem;

    fn try_from(query: PageQuery) -> Result<Self, Problem> {
        PageRequest::new(query.page, query.limit).map(Self).ok_or_else(|| {
            let mut violations = Vec::new();
            if PageRequest::new(query.page, 1).is_none() {
                violations.push(Violation::new(
                    "page",
                    format!("must be 1 to {}", PageRequest::MAX_PAGE),
                ));
            }
            if PageRequest::new(1, query.limit).is_none() {
                violations.push(Violation::new(
                    "limit",
                    format!("must be 1 to {}", PageRequest::MAX_LIMIT),
                ));
            }
            Problem::invalid(violations)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query): Query<PageQuery> = Query::from_request_parts(parts, state).await?;
        query.try_into()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn paging(query: &str) -> Result<PageRequest, Problem> {
        let request = Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        Paging::from_request_parts(&mut parts, &())
            .await
            .map(|Paging(page)| page)
    }

    #[tokio::test]
    async fn the_first_twenty_are_the_default() {
        let page = paging("search=x").await.unwrap();
        assert_eq!((page.page(), page.limit()), (1, 20));
        let page = paging("page=3&limit=100").await.unwrap();
        assert_eq!((page.page(), page.limit()), (3, 100));
    }

    #[tokio::test]
    async fn each_parameter_out_of_range_is_named() {
        for (query, pointers) in [
            ("page=0", vec!["page"]),
            ("limit=101", vec!["limit"]),
            ("page=0&limit=0", vec!["page", "limit"]),
            ("page=-1", vec!["page"]),
            ("page=x", vec!["page"]),
            ("limit=99999999999", vec!["limit"]),
            ("page=1&page=2", vec!["page"]),
        ] {
            let problem = paging(query).await.unwrap_err();
            let body = serde_json::to_value(problem.body("", "")).unwrap();
            let errors = body["errors"].as_array().unwrap().clone();
            let named: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
            assert_eq!(named, pointers, "{query}");
        }
    }
}
