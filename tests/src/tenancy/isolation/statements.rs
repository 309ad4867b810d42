//! What the product really says to the server: every statement of a tenant login comes in a transaction that entered a
//! tenant before anything else.

use std::collections::HashMap;

use serde_json::json;

use crate::harness::{App, Client, Options, Postgres, TestDb, eventually, run};

/// Begins every line of the server's log, so that the lines of a long statement are told from a new one.
const MARK: &str = "bulkhead-log";

/// What the log says of the tenant logins.
#[derive(Debug, Default)]
struct Heard {
    /// Transactions that began by entering a tenant.
    n_entered: usize,
    /// Messages that are one transaction and begin by entering a tenant.
    n_messages: usize,
    /// The statements in them.
    inside: Vec<String>,
    /// Everything else, which must be nothing.
    strays: Vec<String>,
}

/// The statements of the log in their order: who said them, on which connection.
fn statements(log: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for entry in log.split(&format!("{MARK}|")).skip(1) {
        let mut fields = entry.splitn(3, '|');
        let (pid, user, said) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        let said = said.trim_start_matches("LOG:  ");
        let statement = said.strip_prefix("statement: ").or_else(|| {
            let (_, statement) = said.strip_prefix("execute ")?.split_once(": ")?;
            Some(statement)
        });
        if let Some(statement) = statement {
            found.push((pid.into(), user.into(), statement.trim().into()));
        }
    }
    found
}

fn hear(log: &str) -> Heard {
    let mut heard = Heard::default();
    let mut is_inside: HashMap<String, bool> = HashMap::new();
    for (pid, user, statement) in statements(log) {
        if !user.starts_with("bulkhead_tenant") {
            continue;
        }
        let is_inside = is_inside.entry(pid).or_default();
        if !*is_inside && statement.starts_with("BEGIN; SELECT control.enter_tenant(") {
            *is_inside = true;
            heard.n_entered += 1;
        } else if !*is_inside && statement.starts_with("SELECT control.enter_tenant(") {
            heard.n_messages += 1;
            heard.inside.push(statement);
        } else if statement.starts_with("SET CONSTRAINTS ALL IMMEDIATE; COMMIT; ")
            || statement.starts_with("ROLLBACK; ")
        {
            *is_inside = false;
        } else if *is_inside {
            heard.inside.push(statement);
        } else {
            heard.strays.push(statement);
        }
    }
    heard
}

/// A database on `server` whose sessions log every statement.
async fn talkative(server: &Postgres) -> TestDb {
    let test = TestDb::on(server.url()).await;
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        &format!("ALTER SYSTEM SET log_line_prefix = '{MARK}|%p|%u|'"),
    )
    .await;
    run(
        &mut admin,
        &format!("ALTER DATABASE {} SET log_statement = 'all'", test.name()),
    )
    .await;
    run(&mut admin, "SELECT pg_reload_conf()").await;
    eventually("new sessions mark their lines", async || {
        let mut fresh = test.connect("postgres").await;
        let prefix: String = sqlx::query_scalar("SHOW log_line_prefix")
            .fetch_one(&mut fresh)
            .await
            .unwrap();
        prefix.starts_with(MARK).then_some(())
    })
    .await;
    test
}

async fn make_a_machine(client: &Client) {
    let templates = client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({
        "name": "one", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let vm = client.post("/api/v1/vms", &machine).await.expect(202);
    let path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());
    eventually("the machine runs", async || {
        (client.get(&path).await.expect(200)["status"] == "RUNNING").then_some(())
    })
    .await;
    client.get("/api/v1/vms").await.expect(200);
    client.get(&format!("{path}/logs")).await.expect(200);
    client.get("/api/v1/users").await.expect(200);
    client.get("/api/v1/whoami").await.expect(200);
    client.delete(&path).await.expect(202);
}

#[tokio::test]
async fn every_statement_of_a_tenant_login_comes_after_an_entry_in_its_transaction() {
    let server = Postgres::start().await;
    let db = talkative(&server).await;
    let app = App::with(Options {
        db: Some(db),
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    make_a_machine(&ada.client).await;

    let heard = hear(&server.log());
    assert!(heard.n_entered >= 10 && heard.n_messages >= 3, "{heard:#?}");
    for table in ["vms", "members", "role_permissions", "vm_operations", "vm_events"] {
        let is_read = heard.inside.iter().any(|statement| statement.contains(table));
        assert!(is_read, "the run said nothing about {table}");
    }
    assert_eq!(heard.strays, [""; 0]);

    // And what is said outside is heard.
    let entry = format!(
        "SELECT control.enter_tenant('{}', 0, 1, 1, 1, false)",
        ada.tenant.uuid()
    );
    for (planted, stray) in [
        ("SELECT 7".to_owned(), "SELECT 7".to_owned()),
        (format!("BEGIN; SELECT 8; {entry}"), format!("BEGIN; SELECT 8; {entry}")),
    ] {
        let mut login = app.db.connect("bulkhead_tenant").await;
        let _ = super::refusal(&mut login, &planted).await;
        let strays = hear(&server.log()).strays;
        assert!(strays.contains(&stray), "{strays:?}");
    }
}
