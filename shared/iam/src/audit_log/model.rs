//! What verification says, and how long events are kept.

use bulkhead_audit::chain::Flaw;
use bulkhead_kernel::fault::Violation;
use serde_json::{Map, Value};

use super::Checkpoint;

/// The setting of a tenant that says for how many days its events are kept.
pub const RETENTION_SETTING: &str = "audit_retention_days";

/// Nobody makes traces vanish faster than this.
pub const MIN_RETENTION_DAYS: i64 = 30;

/// Ten years.
pub const MAX_RETENTION_DAYS: i64 = 3_650;

/// What came of walking along the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The oldest sealed row that is left.
    pub first_seq: Option<i64>,
    /// The newest sealed row that was looked at.
    pub last_seq: i64,
    /// Rows looked at.
    pub n_rows: u64,
    /// The newest checkpoint that one of our keys signed.
    pub checkpoint: Option<Checkpoint>,
    /// The first thing that is wrong.
    pub flaw: Option<Flaw>,
}

/// What is wrong with the tenant's setting for retention.
#[must_use]
pub fn check_retention(settings: &Map<String, Value>) -> Option<Violation> {
    let days = settings.get(RETENTION_SETTING)?;
    let is_right = days
        .as_i64()
        .is_some_and(|days| (MIN_RETENTION_DAYS..=MAX_RETENTION_DAYS).contains(&days));
    (!is_right).then(|| {
        Violation::new(
            format!("/settings/{RETENTION_SETTING}"),
            format!("must be a whole number from {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn traces_are_kept_for_a_month_at_least() {
        let check = |value: Value| {
            let settings = json!({ "audit_retention_days": value });
            check_retention(settings.as_object().unwrap()).is_none()
        };
        assert!(check_retention(&Map::new()).is_none());
        assert!(check(json!(30)) && check(json!(3_650)));
        for bad in [
            json!(29),
            json!(3_651),
            json!("90"),
            json!(90.5),
            json!(null),
            json!(-1),
        ] {
            assert!(!check(bad.clone()), "{bad}");
        }
    }
}
