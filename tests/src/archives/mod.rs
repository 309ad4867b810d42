//! Tenants as files, and files as tenants.

mod crash;
mod export;
mod forge;
mod import;
mod members;
mod memory;
mod sweep;

use std::collections::BTreeMap;

use bulkhead_kernel::ids::TenantId;
use http::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use crate::harness::{App, Client, Founder, eventually};

/// Asks for an export and waits until it is ready. Gives its path.
async fn export(client: &Client, tenant: TenantId) -> String {
    let answer = client
        .post(&format!("/api/v1/tenants/{tenant}/export"), &json!({}))
        .await;
    answer.expect(202);
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    eventually("the archive is written", async || {
        let export = client.get(&path).await.expect(200);
        assert_ne!(export["status"], "failed", "{export}");
        (export["status"] == "ready").then_some(())
    })
    .await;
    path
}

/// The archive itself. All of it is text.
async fn download(client: &Client, path: &str) -> String {
    let answer = client.get(&format!("{path}/download")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// Uploads an archive; `query` is what follows the question mark.
async fn import(operator: &Client, query: &str, archive: impl Into<bytes::Bytes>) -> crate::harness::Answer {
    let path = format!("/api/v1/tenants/import?{query}");
    operator.send(Method::POST, &path, "application/x-tar", archive).await
}

/// Uploads an archive that is taken, and waits until its tenant is open.
async fn imported(operator: &Client, query: &str, archive: impl Into<bytes::Bytes>) -> TenantId {
    let accepted = import(operator, query, archive).await.expect(202);
    finished(operator, &accepted).await;
    accepted["id"].as_str().unwrap().parse().unwrap()
}

/// Waits for the end of an import, which has to be a good one.
async fn finished(operator: &Client, accepted: &Value) {
    let path = format!("/api/v1/tenants/imports/{}", accepted["import_id"].as_str().unwrap());
    eventually("the import ends", async || {
        let import = operator.get(&path).await.expect(200);
        assert_ne!(import["status"], "failed", "{import}");
        (import["status"] == "done").then_some(())
    })
    .await;
}

/// Waits for the end of an import, which has to be a bad one. Gives what it says.
async fn failed(operator: &Client, accepted: &Value) -> Value {
    let path = format!("/api/v1/tenants/imports/{}", accepted["import_id"].as_str().unwrap());
    eventually("the import fails", async || {
        let import = operator.get(&path).await.expect(200);
        assert_ne!(import["status"], "done", "{import}");
        (import["status"] == "failed").then_some(import)
    })
    .await
}

/// Every table of the tenant with the number of its rows and a checksum of them, whatever their order. Its audit log is left
/// out: it goes on with every export and import.
async fn contents(app: &App, tenant: TenantId) -> BTreeMap<String, (i64, String)> {
    let mut inside = app.db.look_into(tenant).await;
    let tables =
        sqlx::query_scalar!(r#"SELECT tablename::text AS "name!" FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'audit_events'"#)
            .fetch_all(&mut inside)
            .await
            .unwrap();
    let mut contents = BTreeMap::new();
    for table in tables {
        let sql =
            format!("SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t");
        let row: PgRow = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut inside).await.unwrap();
        contents.insert(table, (row.get(0), row.get(1)));
    }
    contents
}

/// Removes a tenant and everything that is known of it, past the product.
async fn remove(app: &App, tenant: TenantId) {
    let mut admin = app.db.connect("postgres").await;
    let id = tenant.uuid();
    let schema = bulkhead_tenancy::SchemaName::from(tenant);
    let sql = format!(
        "DELETE FROM control.vm_work WHERE tenant_id = '{id}'; DELETE FROM control.jobs WHERE tenant_id = '{id}'; \
         DROP SCHEMA {schema} CASCADE; DROP ROLE {schema}; DELETE FROM control.tenants WHERE id = '{id}'"
    );
    crate::harness::run(&mut admin, &sql).await;
}

/// A machine of this founder, running.
async fn machine(ada: &Founder, name: &str) -> String {
    let templates = ada.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({
        "name": name, "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let answer = ada.client.post("/api/v1/vms", &machine).await;
    answer.expect(202);
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    eventually("the machine runs", async || {
        (ada.client.get(&path).await.expect(200)["status"] == "RUNNING").then_some(())
    })
    .await;
    path
}

/// Deletes a machine and waits until it is gone.
async fn delete_machine(ada: &Founder, path: &str) {
    ada.client.delete(path).await.expect(202);
    eventually("the machine is gone", async || {
        (ada.client.get(path).await.status == 404).then_some(())
    })
    .await;
}
