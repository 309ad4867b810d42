//! Lists that are read on with a cursor alone: how many there are in all is not counted.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_kernel::{fault::Violation, ids::JobId, page::PageRequest};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of a list is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PartQuery {
    /// The most items of it.
    #[serde(default = "usual_limit")]
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: u32,
    /// `next_cursor` of the part before
    cursor: Option<String>,
}

const fn usual_limit() -> u32 {
    20
}

impl PartQuery {
    /// The most items, and after which one they begin; what is wrong is added to `violations`.
    pub fn read(&self, violations: &mut Vec<Violation>) -> (u32, Option<JobId>) {
        if PageRequest::new(1, self.limit).is_none() {
            let most = PageRequest::MAX_LIMIT;
            violations.push(Violation::new("limit", format!("must be 1 to {most}")));
        }
        let after = self.cursor.as_deref().map(parse);
        if after == Some(None) {
            violations.push(Violation::new("cursor", "is none of ours"));
        }
        (self.limit, after.flatten())
    }
}

fn parse(cursor: &str) -> Option<JobId> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.parse().ok()
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub struct PartBody<T> {
    /// The items of this part.
    items: Vec<T>,
    /// The most items of a part.
    limit: u32,
    /// For the part after this one; null at the end.
    #[schema(example = json!(null))]
    next_cursor: Option<String>,
}

impl<T> PartBody<T> {
    /// The part, `last` being the id of its last item.
    pub fn new(items: Vec<T>, limit: u32, last: Option<JobId>) -> Self {
        let is_full = items.len() == limit as usize;
        Self {
            next_cursor: last
                .filter(|_| is_full)
                .map(|id| URL_SAFE_NO_PAD.encode(id.to_string())),
            items,
            limit,
        }
    }
}

/// A time of a query; what is none is added to `violations`.
pub fn time(name: &str, text: Option<&str>, violations: &mut Vec<Violation>) -> Option<DateTime<Utc>> {
    let time = text.map(DateTime::parse_from_rfc3339).transpose();
    let time = time.unwrap_or_else(|_| {
        violations.push(Violation::new(name, "must be a time as in RFC 3339"));
        None
    });
    time.map(|time| time.to_utc())
}
