//! Where SQL may stand and how it is written.

use super::sources;

#[test]
fn unchecked_sql_stays_in_tenancy() {
    for (name, text) in sources() {
        if name.starts_with("shared/tenancy/") {
            continue;
        }
        for word in [
            "AssertSqlSafe",
            "raw_sql",
            "sqlx::query(",
            "sqlx::query_as(",
            "sqlx::query_scalar(",
            "PgPool",
            ".begin()",
        ] {
            assert!(!text.contains(word), "{name} uses {word}; only tenancy may");
        }
    }
}

#[test]
fn sql_stays_in_stores() {
    for (name, text) in sources() {
        let is_store = name.ends_with("store.rs") || name.contains("/store/") || name.starts_with("shared/tenancy/");
        assert!(
            is_store || !text.contains("sqlx::query"),
            "{name} holds SQL; a store should"
        );
    }
}

#[test]
fn columns_are_named_and_types_are_not_made() {
    let migrations = super::files("migrations", "sql");
    for (name, text) in sources().iter().chain(&migrations) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['/', '-'])) {
            assert!(!line.contains("SELECT *") && !line.contains(".*,"), "{name}: {line}");
        }
    }
    for (name, text) in migrations.iter().filter(|(name, _)| name.contains("/tenant/")) {
        for word in [
            "CREATE TYPE",
            "CREATE DOMAIN",
            "CREATE SEQUENCE",
            "SERIAL",
            "serial",
            "control.",
        ] {
            assert!(!text.contains(word), "{name} must not contain {word}");
        }
    }
}
