//! `/audit-log`: who did what in the active tenant, taken along, and proved whole.

mod body;
mod csv;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bulkhead_audit::{Entry, Filter, Part};
use bulkhead_iam::{audit_log::service, permissions::Permission};
use bulkhead_kernel::fault::Violation;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

pub use body::{
    CheckpointBody, Context, CursorQuery, FlawBody, FormatQuery, LogFilter, LogItem, LogPage, Party, VerificationBody,
};

use crate::{
    extract::{Json, Operator, PageQuery, Paging, Query, Scoped},
    openapi::OPERATOR,
    problem::Problem,
    state::AppState,
};

/// Read the audit log
///
/// The newest entry first. Far back a `cursor` is faster than a `page`.
#[utoipa::path(get, path = "/audit-log", operation_id = "list_audit_log", tag = "audit",
    params(PageQuery, CursorQuery, LogFilter), responses((status = 200, body = LogPage)),
    extensions(("x-permission" = json!(Permission::AuditRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(request): Paging,
    Query(cursor): Query<CursorQuery>,
    Query(filter): Query<LogFilter>,
) -> Result<Json<LogPage>, Problem> {
    let part = match cursor.position()? {
        Some(position) => Part::After(Some(position), request.limit()),
        None => Part::Page(request),
    };
    let filter = Filter::try_from(filter)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let (entries, total) = service::list(&scope, &mut tx, &filter, part).await?;
    tx.commit().await?;
    Ok(Json(LogPage::new(entries, total, request)))
}

/// Read what operators did
///
/// The newest entry first; far back a `cursor` is faster than a `page`. What they did to tenants is in the tenants' logs,
/// too, and what they did inside of one is there alone. These entries are in no chain: `seq` and `hash` are null.
#[utoipa::path(get, path = "/audit-log", operation_id = "list_platform_audit_log", tag = "platform",
    params(PageQuery, CursorQuery, LogFilter), responses((status = 200, body = LogPage)),
    extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list_of_platform(
    State(state): State<AppState>,
    _: Operator,
    Paging(request): Paging,
    Query(cursor): Query<CursorQuery>,
    Query(filter): Query<LogFilter>,
) -> Result<Json<LogPage>, Problem> {
    let part = match cursor.position()? {
        Some(position) => Part::After(Some(position), request.limit()),
        None => Part::Page(request),
    };
    let filter = Filter::try_from(filter)?;
    let mut tx = state.db().control().await?;
    let (entries, total) = bulkhead_audit::list_of_platform(&mut tx, &filter, part).await?;
    tx.commit().await?;
    Ok(Json(LogPage::new(entries, total, request)))
}

/// Export the audit log
///
/// As it is read, the newest entry first: `ndjson` has one entry a line, `csv` has a heading. That somebody exported is an
/// entry itself.
#[utoipa::path(get, path = "/audit-log/export", operation_id = "export_audit_log", tag = "audit",
    params(FormatQuery, LogFilter),
    responses((status = 200, content((String = "application/x-ndjson", example = json!("one entry a line")),
        (String = "text/csv", example = json!("a table with a heading"))))),
    extensions(("x-permission" = json!(Permission::AuditRead.as_str()))))]
pub async fn export(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Query(format): Query<FormatQuery>,
    Query(filter): Query<LogFilter>,
) -> Result<Response, Problem> {
    let format = match format.format.as_deref() {
        None | Some("ndjson") => "ndjson",
        Some("csv") => "csv",
        Some(_) => {
            return Err(Problem::invalid(vec![Violation::new(
                "format",
                "must be csv or ndjson",
            )]));
        }
    };
    let filter = Filter::try_from(filter)?;
    let entries = service::export(&scope, state.db(), filter, format).await?;
    let (media_type, heading, write): (_, _, fn(Vec<Entry>) -> Bytes) = match format {
        "csv" => ("text/csv; charset=utf-8", csv::HEADING, write_csv),
        _ => ("application/x-ndjson", "", write_ndjson),
    };
    let heading = stream::iter([Ok(Bytes::from_static(heading.as_bytes()))]);
    let body = Body::from_stream(heading.chain(entries.map_ok(write)));
    let name = format!("attachment; filename=\"audit-log.{format}\"");
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

fn write_ndjson(entries: Vec<Entry>) -> Bytes {
    let mut text = Vec::new();
    for entry in entries {
        // Text and numbers always have a form in JSON.
        let _ = serde_json::to_writer(&mut text, &LogItem::from(entry));
        text.push(b'\n');
    }
    text.into()
}

fn write_csv(entries: Vec<Entry>) -> Bytes {
    let lines = entries
        .into_iter()
        .map(|entry| csv::line(&LogItem::from(entry).columns()));
    lines.collect::<String>().into()
}

/// Prove the audit log whole
///
/// Walks along all of it and compares it with the signed checkpoints outside of the database. Names the first row that is
/// wrong.
#[utoipa::path(get, path = "/audit-log/verify", operation_id = "verify_audit_log", tag = "audit",
    responses((status = 200, body = VerificationBody)),
    extensions(("x-permission" = json!(Permission::AuditRead.as_str()))))]
pub async fn verify(State(state): State<AppState>, Scoped(scope): Scoped) -> Result<Json<VerificationBody>, Problem> {
    let (found, unsealed) = service::verify(&scope, state.iam(), state.checkpoints()).await?;
    Ok(Json(VerificationBody::new(found, unsealed)))
}
