//! Behind PgBouncer, in each of its modes. Without a PgBouncer on the machine these have nothing to show.

use bulkhead_tenancy::{
    Message,
    doctor::{self, Mode, Report, Verdict},
};
use futures_util::future::join_all;
use sqlx::Row;

use super::doctor::{ORDER, assert_passed, assert_verdict, db_with};
use crate::harness::{PgBouncer, TestDb, run};

async fn examined(test: &TestDb, pooler: &PgBouncer, statement_cache: usize) -> Report {
    let db = db_with(test.settings_behind(&pooler.url(), statement_cache));
    doctor::isolation(&db, ORDER).await.unwrap()
}

#[tokio::test]
async fn in_transaction_mode_the_doctor_passes_and_names_it() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "transaction", 4).await else {
        return;
    };
    let report = examined(&test, &pooler, 0).await;
    assert_passed(&report);
    assert_eq!(report.pooler.mode, Mode::Transaction);
    assert_eq!(report.pooler.software, Some("PgBouncer"), "{report:#?}");
    assert_verdict(&report, "notifications", Verdict::Passed);
}

#[tokio::test]
async fn where_prepared_statements_are_not_known_the_doctor_says_what_to_set_and_isolation_holds() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "transaction", 4).await else {
        return;
    };
    let report = examined(&test, &pooler, 100).await;
    let prepared = report
        .checks
        .iter()
        .find(|check| check.name == "prepared_statements")
        .unwrap();
    assert_eq!(prepared.verdict == Verdict::Failed, !report.pooler.is_prepared_known);
    if prepared.verdict == Verdict::Failed {
        assert!(
            prepared
                .advice
                .as_ref()
                .unwrap()
                .contains("database.statement_cache = 0")
        );
        assert!(!report.is_passed());
    }
    for name in [
        "own_rows_only",
        "own_role_and_schema",
        "nothing_left",
        "undone_is_undone",
    ] {
        assert_verdict(&report, name, Verdict::Passed);
    }
}

#[tokio::test]
async fn in_session_mode_the_doctor_passes_and_names_it() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "session", 4).await else {
        return;
    };
    let report = examined(&test, &pooler, 100).await;
    assert_passed(&report);
    assert_eq!(report.pooler.mode, Mode::Session, "{report:#?}");
}

#[tokio::test]
async fn in_statement_mode_the_doctor_fails_and_names_it() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "statement", 4).await else {
        return;
    };
    let report = examined(&test, &pooler, 0).await;
    assert_eq!(report.pooler.mode, Mode::Statement);
    assert_verdict(&report, "pooler_mode", Verdict::Failed);
}

#[tokio::test]
async fn a_listener_that_goes_through_the_pooler_is_noted() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "transaction", 4).await else {
        return;
    };
    let mut settings = test.settings_behind(&pooler.url(), 0);
    settings.retain(|(key, _)| key != "BULKHEAD__DATABASE__DIRECT_URL");
    let report = doctor::isolation(&db_with(settings), ORDER).await.unwrap();
    assert_verdict(&report, "notifications", Verdict::Noted);
    assert!(report.is_passed(), "{report:#?}");
}

#[tokio::test]
async fn dates_stay_readable_on_a_server_with_another_style_unless_the_login_has_it_too() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "transaction", 2).await else {
        return;
    };
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        &format!("ALTER DATABASE {} SET DateStyle = 'SQL, DMY'", test.name()),
    )
    .await;
    let report = examined(&test, &pooler, 0).await;
    assert_passed(&report);
    let login = format!(
        "ALTER ROLE bulkhead_tenant IN DATABASE {} SET DateStyle = 'SQL, DMY'",
        test.name()
    );
    run(&mut admin, &login).await;
    let Some(other) = PgBouncer::start(&test, "transaction", 2).await else {
        return;
    };
    let report = examined(&test, &other, 0).await;
    assert_verdict(&report, "dates_are_readable", Verdict::Failed);
}

#[tokio::test]
async fn statements_with_parameters_of_many_clients_do_not_meet_on_one_server_process() {
    let test = TestDb::new().await;
    let Some(pooler) = PgBouncer::start(&test, "transaction", 1).await else {
        return;
    };
    let settings = test.settings_behind(&pooler.url(), 0);
    let clients: Vec<_> = (0..4).map(|_| db_with(settings.clone())).collect();
    let tenants = [
        test.tenant(&clients[0], "here").await,
        test.tenant(&clients[0], "there").await,
    ];
    let work = clients.iter().enumerate().map(|(lane, db)| async move {
        for round in 0..50_usize {
            let tenant = tenants[(lane + round) % 2];
            let mut tx = db.tenant(tenant).await.unwrap();
            let same = sqlx::query_scalar!(r#"SELECT $1::text AS "same!""#, tenant.to_string())
                .fetch_one(tx.conn())
                .await
                .unwrap();
            assert_eq!(same, tenant.to_string());
            if round % 3 == 0 {
                drop(tx);
            } else {
                tx.commit().await.unwrap();
            }
        }
    });
    join_all(work).await;
    // The one server process has not kept any of them.
    let message = Message::new().sql("SELECT count(*) FROM pg_catalog.pg_prepared_statements");
    let rows = clients[0].read(tenants[0], &message).await.unwrap();
    assert_eq!(rows[0][0].get::<i64, _>(0), 0);
}
