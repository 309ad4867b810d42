//! A tenant as callers name it: by id or by slug.

use axum::http::{HeaderMap, HeaderName};
use bulkhead_kernel::fault::{Code, Violation};
use bulkhead_tenancy::TenantSelector;

use crate::problem::Problem;

const X_ORG_ID: HeaderName = HeaderName::from_static("x-org-id");

/// The tenant of `X-Org-ID`, where it is sent. Sent twice it is as good as malformed.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<TenantSelector>, Problem> {
    let mut values = headers.get_all(X_ORG_ID).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(X_ORG_ID) {
            Err(Problem::new(Code::TenantMalformed))
        } else {
            Ok(None)
        };
    };
    let selector = value.to_str().ok().and_then(parse);
    selector.map(Some).ok_or_else(|| Problem::new(Code::TenantMalformed))
}

/// The tenant of a field `org_id`, where it is sent.
pub(crate) fn from_field(org_id: Option<&str>) -> Result<Option<TenantSelector>, Problem> {
    let malformed = || Problem::invalid(vec![Violation::new("/org_id", "is neither a tenant id nor a slug")]);
    org_id.map(|text| parse(text).ok_or_else(malformed)).transpose()
}

/// A slug has no underscore and an id has one, so no text is both.
fn parse(text: &str) -> Option<TenantSelector> {
    let id = text.parse().map(TenantSelector::Id).ok();
    id.or_else(|| text.parse().map(TenantSelector::Slug).ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use bulkhead_kernel::ids::TenantId;

    use super::*;

    fn sent(values: &[&str]) -> Result<Option<TenantSelector>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_ORG_ID, HeaderValue::from_str(value).unwrap());
        }
        from_headers(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn a_tenant_is_named_by_id_or_by_slug() {
        let id = TenantId::new();
        assert_eq!(sent(&[&id.to_string()]), Ok(Some(TenantSelector::Id(id))));
        assert_eq!(sent(&["acme"]), Ok(Some(TenantSelector::Slug("acme".parse().unwrap()))));
        assert_eq!(sent(&[]), Ok(None));
    }

    #[test]
    fn anything_else_is_malformed() {
        for values in [
            &[""][..],
            &["Acme"],
            &["org_1"],
            &["a b"],
            &["acme", "acme"],
            &["acme,other"],
        ] {
            assert_eq!(sent(values), Err(Code::TenantMalformed), "{values:?}");
        }
    }
}
