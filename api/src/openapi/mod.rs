//! The OpenAPI 3.1 document, generated from the handlers and completed from what they declare about themselves:
//! `x-permission` (who may call) and `x-problem-codes` (what may go wrong besides the usual).

mod example;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use axum::http::StatusCode;
use bulkhead_iam::permissions::{PEOPLE_ONLY, Permission};
use bulkhead_kernel::fault::Code;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::{
    problem::{PROBLEM_JSON, ProblemBody, ViolationBody, status},
    router,
};

/// `x-permission` of an operation that anybody may call.
pub const PUBLIC: &str = "public";

/// `x-permission` of an operation that needs an access token and no tenant.
pub const SIGNED_IN: &str = "signed in";

/// `x-permission` of an operation for those who run the platform, whatever tenants they belong to.
pub const OPERATOR: &str = "operator";

/// `x-permission` of an operation that any member of the tenant may call.
pub const MEMBER: &str = "member";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bulkhead",
        description = "A multi-tenant backend that keeps every customer in a watertight compartment. Errors are \
                       `application/problem+json` with a stable `code`. `/tenants` is also reachable as `/orgs`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/")),
    components(schemas(ProblemBody, ViolationBody))
)]
struct Skeleton;

/// The document before any path is in it.
pub(crate) fn skeleton() -> utoipa::openapi::OpenApi {
    Skeleton::openapi()
}

/// The codes of an operation, as its `x-problem-codes` takes them.
pub(crate) fn codes(codes: &[Code]) -> Vec<&'static str> {
    codes.iter().map(|code| code.as_str()).collect()
}

/// The whole document; the same bytes from every build of the same code.
pub fn document() -> Value {
    let mut document = serde_json::to_value(router::documented().into_openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "An API key; `Authorization: Bearer` takes it, too."}
    });
    let schemas = document["components"]["schemas"].clone();
    let items = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = items.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations.filter(|value| value["responses"].is_object()) {
        complete(operation);
        example::add(operation, &schemas);
    }
    document
}

/// The document as it is served.
pub(crate) fn served() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    DOCUMENT.clone()
}

/// Adds to one operation what follows from who may call it and what it takes.
fn complete(operation: &mut Value) {
    let permission = operation["x-permission"].as_str().unwrap_or(PUBLIC).to_owned();
    if permission != PUBLIC {
        operation["security"] = json!([{"bearer": []}]);
        if takes_keys(&permission) {
            operation["security"] = json!([{"bearer": []}, {"api_key": []}]);
        }
    }
    if needs_tenant(&permission) {
        let header = json!({
            "name": "X-Org-ID", "in": "header", "required": false,
            "description": "The tenant, by id or slug; only where the access token leaves it open.",
            "schema": {"type": "string"},
        });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(header),
            None => operation["parameters"] = json!([header]),
        }
    }
    // An index makes what is not there, as null.
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        if let Some(schema_type) = parameter.pointer_mut("/schema/type") {
            make_plain(schema_type);
        }
    }
    describe_answers(operation);
    let codes = problem_codes(operation, &permission);
    operation["x-problem-codes"] = codes.iter().copied().map(Code::as_str).collect();
    let mut by_status = BTreeMap::<u16, Vec<&str>>::new();
    for code in codes {
        by_status
            .entry(status(code.kind()).as_u16())
            .or_default()
            .push(code.as_str());
    }
    for (status, codes) in by_status {
        operation["responses"][status.to_string()] = json!({
            "description": format!("`{}`", codes.join("`, `")),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
    }
}

/// A parameter is left out, it cannot be null.
fn make_plain(schema_type: &mut Value) {
    let plain = schema_type
        .as_array()
        .and_then(|types| types.iter().find(|one| *one != "null"))
        .cloned();
    if let Some(plain) = plain {
        *schema_type = plain;
    }
}

/// OpenAPI wants a sentence for each answer; for ours the words of HTTP are enough.
fn describe_answers(operation: &mut Value) {
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        let reason = status
            .parse()
            .ok()
            .and_then(|status: StatusCode| status.canonical_reason());
        if answer["description"].as_str().is_none_or(str::is_empty) {
            answer["description"] = reason.unwrap_or("An answer").into();
        }
    }
}

fn needs_tenant(permission: &str) -> bool {
    ![PUBLIC, SIGNED_IN, OPERATOR].contains(&permission)
}

/// Whether an API key can be enough. What is asked of people alone never is.
fn takes_keys(permission: &str) -> bool {
    permission == MEMBER || Permission::find(permission).is_some_and(|permission| !PEOPLE_ONLY.contains(permission))
}

/// All codes of an operation, in the order of the table.
fn problem_codes(operation: &Value, permission: &str) -> Vec<Code> {
    let declared = operation["x-problem-codes"].as_array();
    let mut names: BTreeSet<&str> = declared.into_iter().flatten().filter_map(Value::as_str).collect();
    let mut add = |codes: &[Code]| names.extend(codes.iter().map(|code| code.as_str()));
    add(&[Code::Internal, Code::RequestTimeout]);
    if operation["requestBody"].is_object() {
        add(&[Code::MalformedJson, Code::MalformedRequest, Code::Validation]);
        add(&[Code::BodyTooLarge, Code::UnsupportedMediaType]);
    }
    let parameters = operation["parameters"].as_array();
    if parameters.is_some_and(|all| all.iter().any(|one| one["in"] == "query")) {
        add(&[Code::Validation]);
    }
    if permission != PUBLIC {
        add(&[
            Code::Unauthenticated,
            Code::TokenInvalid,
            Code::TokenExpired,
            Code::SessionEnded,
        ]);
        add(&[Code::DatabaseUnavailable, Code::TenantMalformed, Code::TenantMismatch]);
        add(&[Code::ApiKeyInvalid]);
        if needs_tenant(permission) {
            add(&[Code::AddressNotAllowed]);
        }
        if !takes_keys(permission) {
            add(&[Code::ApiKeyNotAllowed]);
        }
    }
    if permission == OPERATOR {
        add(&[Code::Forbidden]);
    }
    if needs_tenant(permission) {
        add(&[Code::TenantRequired, Code::TenantNotFound, Code::TenantNotActive]);
        if permission != MEMBER {
            add(&[Code::Forbidden]);
        }
    }
    Code::ALL
        .iter()
        .copied()
        .filter(|code| names.contains(code.as_str()))
        .collect()
}

#[cfg(test)]
mod tests;
