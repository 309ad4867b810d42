//! Where SQL may stand and how it is written.

use super::sources;

/// What makes SQL out of text, or a connection out of nothing: tenancy alone may.
const UNCHECKED: &[&str] = &[
    "AssertSqlSafe",
    "raw_sql",
    "sqlx::query(",
    "sqlx::query_as(",
    "sqlx::query_scalar(",
    "sqlx::query_with(",
    "QueryBuilder",
    "PgPool",
    "PgListener",
    "PgConnectOptions",
    "PgConnection::connect",
    ".begin()",
];

/// What runs a statement: tenancy and stores.
const EXECUTION: &[&str] = &[
    "sqlx::query",
    "PgConnection",
    ".execute(",
    ".execute_many(",
    ".fetch(",
    ".fetch_many(",
    ".fetch_one(",
    ".fetch_all(",
    ".fetch_optional(",
];

/// The words in a file of the product that its place does not allow.
fn offences(name: &str, text: &str) -> Vec<&'static str> {
    if name.starts_with("shared/tenancy/") {
        return Vec::new();
    }
    let is_store = name.ends_with("store.rs") || name.contains("/store/");
    let execution = EXECUTION.iter().filter(|_| !is_store);
    let banned = UNCHECKED.iter().chain(execution);
    banned.copied().filter(|word| text.contains(word)).collect()
}

#[test]
fn sql_is_run_in_tenancy_and_stores_alone_and_outside_tenancy_it_is_checked() {
    for (name, text) in sources() {
        let offences = offences(&name, &text);
        assert!(offences.is_empty(), "{name} uses {offences:?}: see CONTRIBUTING.md");
    }
}

#[test]
fn a_planted_call_is_found_wherever_it_is() {
    let service = "shared/iam/src/members/service.rs";
    let store = "shared/iam/src/members/store.rs";
    for (name, planted) in [
        (
            service,
            r#"sqlx::query!("DELETE FROM members").execute(tx.conn()).await?;"#,
        ),
        (service, "let rows = tx.conn().fetch_all(statement).await?;"),
        (service, "fn reach(conn: &mut PgConnection) {}"),
        ("worker/src/handlers/vms.rs", "tx.conn().execute(statement).await?;"),
        (
            "api/src/routes/vms/mod.rs",
            "let connection = PgConnection::connect(url).await?;",
        ),
        (store, r#"sqlx::query("SELECT 1").execute(tx.conn()).await?;"#),
        (store, "tx.conn().execute(sqlx::raw_sql(text)).await?;"),
        (store, "let sql = AssertSqlSafe(format!(\"SELECT {column}\"));"),
        (store, "let pool = PgPoolOptions::new();"),
        (store, "let tx = conn.begin().await?;"),
    ] {
        assert_ne!(offences(name, planted), [""; 0], "{planted} in {name}");
    }
    let checked = r#"sqlx::query!("DELETE FROM members").execute(tx.conn()).await?;"#;
    assert_eq!(offences(store, checked), [""; 0]);
}

/// A message without parameters is the one place where a statement of its own could leave a tenant (docs/isolation.md).
/// The product's are queries, whatever else the program puts into them.
#[test]
fn messages_are_made_of_queries() {
    let mut n_messages = 0;
    for (name, text) in sources() {
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in product.match_indices("Message::new()") {
            n_messages += 1;
            let rest = &product[at..];
            let message = &rest[..rest.find(";\n").unwrap_or(rest.len())];
            let words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words {
                let is_query = ![
                    "SET",
                    "RESET",
                    "BEGIN",
                    "COMMIT",
                    "ROLLBACK",
                    "PREPARE",
                    "DECLARE",
                    "DO",
                    "set_config",
                ]
                .contains(&word);
                assert!(is_query, "{name}: a message with {word}");
            }
        }
    }
    assert!(
        n_messages >= 2,
        "only {n_messages} messages found: is the search broken?"
    );
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
