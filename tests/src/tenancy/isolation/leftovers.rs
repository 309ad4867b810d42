//! What a transaction could leave on its connection is gone when the next tenant gets it.

use bulkhead_tenancy::{Db, TenantTx};
use sqlx::{Executor, Row};

use super::refusal;
use crate::harness::{TestDb, run};

/// How a transaction ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    /// A failed statement, and the caller gives up.
    Error,
    /// The caller goes away.
    Drop,
}

/// Everything that PostgreSQL keeps past a commit. The commit in the middle makes it outlive a rollback as well.
const POLLUTION: &str = "DECLARE kept CURSOR WITH HOLD FOR SELECT email FROM members; \
                         PREPARE kept AS SELECT email FROM members; \
                         COMMIT; BEGIN; \
                         SET statement_timeout = 1234; \
                         SET search_path = pg_catalog; \
                         SET bulkhead.note = 'a secret'; \
                         SET default_transaction_read_only = on; \
                         LISTEN bulkhead_jobs; \
                         COMMIT; BEGIN; \
                         SET ROLE NONE";

async fn end(mut tx: TenantTx, how: End) {
    match how {
        End::Commit => tx.commit().await.unwrap(),
        End::Error => {
            assert_eq!(refusal(tx.conn(), "SELECT 1 / 0").await.as_deref(), Some("22012"));
            assert!(tx.commit().await.is_err());
        }
        End::Drop => drop(tx),
    }
}

/// What the borrower finds: how many cursors, channels, locks, settings of a session, and the note.
const LOOK: &str = "SELECT (SELECT count(*) FROM pg_cursors WHERE is_holdable) \
                         + (SELECT count(*) FROM pg_listening_channels()) \
                         + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                           coalesce(current_setting('bulkhead.note', true), '') || current_setting('transaction_read_only'), \
                           current_setting('statement_timeout'), current_user::text = current_schema()::text, \
                           pg_backend_pid()";

async fn assert_clean(db: &Db, tenant: bulkhead_kernel::ids::TenantId, how: End) -> i32 {
    let mut tx = db.tenant(tenant).await.unwrap();
    let row = tx.conn().fetch_one(sqlx::raw_sql(LOOK)).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0, "{how:?}");
    assert_eq!(row.get::<String, _>(1), "off", "{how:?}");
    assert_ne!(row.get::<String, _>(2), "1234ms", "{how:?}");
    assert!(row.get::<bool, _>(3), "{how:?}");
    let pid = row.get(4);
    let fetched = refusal(tx.conn(), "FETCH ALL FROM kept").await;
    assert_eq!(fetched.as_deref(), Some("34000"), "{how:?}");
    pid
}

#[tokio::test]
async fn what_outlives_a_commit_is_gone_for_the_next_tenant_on_the_connection() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    let mut admin = test.connect("postgres").await;
    for how in [End::Commit, End::Error, End::Drop] {
        let mut tx = db.tenant(here).await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(tx.conn())
            .await
            .unwrap();
        tx.conn().execute(sqlx::raw_sql(POLLUTION)).await.unwrap();
        end(tx, how).await;
        assert_eq!(
            assert_clean(&db, there, how).await,
            pid,
            "{how:?}: another connection proves nothing"
        );
        // A new one for the next round, which prepares the same name again.
        run(&mut admin, &format!("SELECT pg_terminate_backend({pid}, 10000)")).await;
    }
}

/// PostgreSQL keeps the text of a statement that SQL prepared, and runs it as whoever executes it: in that tenant's
/// schema, with that tenant's rights.
#[tokio::test]
async fn a_prepared_statement_that_stays_runs_as_the_tenant_that_finds_it() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    for (tenant, email) in [(here, "here@example.com"), (there, "there@example.com")] {
        let person = format!(
            "INSERT INTO members (identity_id, email, first_name, last_name) VALUES (gen_random_uuid(), '{email}', 'A', 'B')"
        );
        run(&mut test.look_into(tenant).await, &person).await;
    }
    let mut tx = db.tenant(here).await.unwrap();
    run(tx.conn(), "PREPARE kept AS SELECT email FROM members; EXECUTE kept").await;
    tx.commit().await.unwrap();
    let mut tx = db.tenant(there).await.unwrap();
    let rows = tx.conn().fetch_all(sqlx::raw_sql("EXECUTE kept")).await.unwrap();
    let emails: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(emails, ["there@example.com"]);
}
