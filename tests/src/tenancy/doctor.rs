//! The doctor passes what is sound, and fails what was broken on purpose.

use bulkhead_kernel::{
    config::{Config, ConfigSource},
    secret::Secret,
};
use bulkhead_tenancy::{
    Db,
    doctor::{self, Mode, Order, Report, SLUG_PREFIX, Verdict},
    migrations::migrate_control,
};
use serde_json::json;
use tokio::process::Command;

use crate::harness::{App, Options, Postgres, TestDb, connect, eventually, run, server::path_of, url};

/// A few turns of every act in every order.
pub(super) const ORDER: Order = Order {
    rounds: 60,
    budget: std::time::Duration::from_secs(120),
};

/// The product's way to a database with exactly these settings.
pub(super) fn db_with(settings: Vec<(String, String)>) -> Db {
    let config =
        Config::load_for(ConfigSource::from_env(settings), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Db::new(&config.database).unwrap()
}

/// Without a pooler, whatever the run has.
pub(super) fn direct(test: &TestDb) -> Db {
    db_with(test.settings_behind(test.server(), 100))
}

#[track_caller]
pub(super) fn assert_verdict(report: &Report, name: &str, expected: Verdict) {
    let mut checks = report.checks.iter().filter(|check| check.name == name);
    let verdict = checks.next().map(|check| check.verdict);
    assert_eq!(verdict, Some(expected), "{name} in {report:#?}");
}

#[track_caller]
pub(super) fn assert_passed(report: &Report) {
    assert!(report.is_passed(), "{report:#?}");
    assert_eq!(report.rounds.done, ORDER.rounds, "{report:#?}");
    assert!(report.rounds.meetings > ORDER.rounds / 2, "{report:#?}");
    assert_eq!(report.rounds.searches, 2 * ORDER.rounds);
}

/// How many tenants, schemas and roles of the doctor there are.
async fn left_over(test: &TestDb) -> (i64, i64, i64) {
    let row = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM control.tenants WHERE slug LIKE $1 || '%') AS "tenants!",
               (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 't\_%') AS "schemas!",
               (SELECT count(*) FROM pg_roles AS r JOIN control.tenants AS t
                ON r.rolname = 't_' || replace(t.id::text, '-', '')) AS "roles!"
        "#,
        SLUG_PREFIX,
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap();
    (row.tenants, row.schemas, row.roles)
}

/// Rewrites the entry into tenants, as it stands in this one database.
async fn break_entry(test: &TestDb, from: &str, to: &str) {
    let mut admin = test.connect("postgres").await;
    let entry = sqlx::query_scalar!(
        r#"
        SELECT pg_get_functiondef(oid) AS "text!"
        FROM pg_proc
        WHERE proname = 'enter_tenant'
          AND pronamespace = 'control'::regnamespace
        ORDER BY pronargs DESC
        LIMIT 1
        "#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(entry.contains(from), "{entry}");
    run(&mut admin, &entry.replace(from, to)).await;
}

#[tokio::test]
async fn a_sound_deployment_passes_and_nothing_is_left_of_the_examination() {
    let test = TestDb::new().await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert_passed(&report);
    assert_eq!(report.pooler.mode, Mode::Direct);
    assert_verdict(&report, "notifications", Verdict::Passed);
    assert_eq!(left_over(&test).await, (0, 0, 0));
}

#[tokio::test]
async fn a_path_that_is_set_for_the_session_fails() {
    let test = TestDb::new().await;
    break_entry(
        &test,
        "set_config('search_path', v_schema || ', pg_temp', true)",
        "set_config('search_path', v_schema || ', pg_temp', false)",
    )
    .await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert!(!report.is_passed());
    assert_verdict(&report, "nothing_left", Verdict::Failed);
    assert_verdict(&report, "own_rows_only", Verdict::Passed);
    assert_eq!(left_over(&test).await, (0, 0, 0));
}

#[tokio::test]
async fn an_entry_that_takes_no_role_fails() {
    let test = TestDb::new().await;
    break_entry(&test, "pg_catalog.set_config('role', v_schema, true)", "v_schema").await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert!(!report.is_passed());
    assert_verdict(&report, "no_other_error", Verdict::Failed);
    // With rights of its own the login would get in, and is found to be nobody's.
    let test = TestDb::new().await;
    break_entry(&test, "pg_catalog.set_config('role', v_schema, true)", "v_schema").await;
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        "CREATE FUNCTION public.open() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%' LOOP \
         EXECUTE format('GRANT USAGE ON SCHEMA %I TO bulkhead_tenant; \
                         GRANT ALL ON ALL TABLES IN SCHEMA %I TO bulkhead_tenant', s, s); END LOOP; END $$; \
         CREATE EVENT TRIGGER open ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.open()",
    )
    .await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert_verdict(&report, "walls", Verdict::Failed);
    assert_verdict(&report, "own_role_and_schema", Verdict::Failed);
}

#[tokio::test]
async fn an_entry_that_locks_for_the_session_fails() {
    let test = TestDb::new().await;
    let grant = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock(bigint) TO bulkhead_tenant";
    run(&mut test.connect("postgres").await, grant).await;
    break_entry(
        &test,
        "v_unused := pg_catalog.set_config('lock_timeout'",
        "PERFORM pg_catalog.pg_advisory_lock(7); v_unused := pg_catalog.set_config('lock_timeout'",
    )
    .await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert_verdict(&report, "nothing_left", Verdict::Failed);
}

#[tokio::test]
async fn an_entry_that_leads_into_another_tenant_fails() {
    let test = TestDb::new().await;
    run(
        &mut test.connect("postgres").await,
        "GRANT SELECT ON control.doctor_tenants TO bulkhead_tenant",
    )
    .await;
    // Now and then the other one's schema, and the role that goes with it.
    break_entry(
        &test,
        "v_unused := pg_catalog.set_config('lock_timeout'",
        "IF random() < 0.2 THEN SELECT 't_' || replace(d.tenant_id::text, '-', '') INTO v_schema \
         FROM control.doctor_tenants AS d WHERE d.tenant_id <> p_tenant; END IF; \
         v_unused := pg_catalog.set_config('lock_timeout'",
    )
    .await;
    let report = doctor::isolation(&direct(&test), ORDER).await.unwrap();
    assert_verdict(&report, "own_rows_only", Verdict::Failed);
    assert_verdict(&report, "own_role_and_schema", Verdict::Failed);
}

/// Runs the command; gives its exit code and what it printed.
async fn command(settings: Vec<(String, String)>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(path_of("bulkhead-api"))
        .args(["doctor", "isolation"])
        .args(arguments)
        .env_clear()
        .envs(settings)
        .current_dir(std::env::temp_dir())
        .output()
        .await
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_command_says_how_it_went_by_its_exit_code_and_in_words_or_json() {
    let test = TestDb::new().await;
    let (code, said) = command(test.settings(), &["--rounds", "30"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok    own_rows_only"), "{said}");
    assert!(!said.contains("FAIL"), "{said}");
    let (code, said) = command(test.settings(), &["--rounds", "30", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["passed"]), (Some(0), &json!(true)));
    break_entry(&test, "pg_catalog.set_config('role', v_schema, true)", "v_schema").await;
    let (code, said) = command(test.settings(), &["--rounds", "30"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL"), "{said}");
}

#[tokio::test]
async fn what_a_killed_examination_leaves_is_nobodys_and_the_next_one_removes_it() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let operator = app.operator().await;
    let mut examination = Command::new(path_of("bulkhead-api"))
        .args(["doctor", "isolation", "--rounds", "1000000"])
        .env_clear()
        .envs(app.db.settings())
        .current_dir(std::env::temp_dir())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("both tenants are there", async || {
        (left_over(&app.db).await == (2, 2, 2)).then_some(())
    })
    .await;
    // Only one at a time, from wherever.
    let path = "/api/v1/platform/doctor/isolation";
    operator
        .post(path, &json!({ "rounds": 9 }))
        .await
        .expect_problem(409, "doctor_busy");
    examination.kill().await.unwrap();
    assert_eq!(left_over(&app.db).await, (2, 2, 2));
    assert_eq!(operator.get("/api/v1/tenants").await.expect(200), json!([]));
    let mut admin = app.db.connect("postgres").await;
    let touched = sqlx::query_scalar!(
        r#"
        SELECT (SELECT count(*) FROM control.jobs WHERE tenant_id IS NOT NULL) + (SELECT count(*) FROM control.memberships)
            + (SELECT count(*) FROM control.onboarding_steps) + (SELECT count(*) FROM control.vm_work) AS "touched!"
        "#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(touched, 0);
    // Who is gone holds no lock any more, once the server has noticed.
    let report = eventually("the next examination runs", async || {
        let answer = operator.post(path, &json!({ "rounds": 9 })).await;
        (answer.status != 409).then(|| answer.expect(200))
    })
    .await;
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(left_over(&app.db).await, (0, 0, 0));
}

#[tokio::test]
async fn only_operators_may_have_the_deployment_examined_and_get_200_also_when_it_fails() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let path = "/api/v1/platform/doctor/isolation";
    app.client
        .post(path, &json!({}))
        .await
        .expect_problem(401, "unauthenticated");
    let pair = app.register("ada@acme.example").await;
    let ada = app.client.with_token(pair["access_token"].as_str().unwrap());
    ada.post(path, &json!({})).await.expect_problem(403, "forbidden");
    let operator = app.operator().await;
    for rounds in [0, 10_001] {
        operator
            .post(path, &json!({ "rounds": rounds }))
            .await
            .expect_problem(422, "validation");
    }
    break_entry(&app.db, "pg_catalog.set_config('role', v_schema, true)", "v_schema").await;
    let report = operator.post(path, &json!({ "rounds": 9 })).await.expect(200);
    assert_eq!(report["passed"], false, "{report}");
    assert_eq!(left_over(&app.db).await, (0, 0, 0));
}

#[tokio::test]
async fn an_owner_that_is_no_superuser_builds_tenants_and_the_doctor_names_what_it_could_not_harden() {
    let postgres = Postgres::start().await;
    let mut admin = connect(&postgres.url(), None).await;
    run(&mut admin, "CREATE ROLE landlord LOGIN CREATEROLE NOSUPERUSER").await;
    run(&mut admin, "CREATE DATABASE bulkhead OWNER landlord").await;
    let url = |user| url(&postgres.url(), user, "bulkhead");
    let owner = Secret::new(url("landlord"));
    migrate_control(&owner, [&owner, &owner]).await.unwrap();
    let settings = [
        ("OWNER", "landlord"),
        ("CONTROL", "bulkhead_control"),
        ("TENANT", "bulkhead_tenant"),
    ];
    let settings = settings.map(|(key, user)| (format!("BULKHEAD__DATABASE__{key}_URL"), url(user)));
    let report = doctor::isolation(&db_with(settings.into()), ORDER).await.unwrap();
    assert_passed(&report);
    assert_verdict(&report, "hardening", Verdict::Noted);
    let noted = report.checks.iter().find(|check| check.name == "hardening").unwrap();
    assert!(
        noted.advice.as_ref().unwrap().contains("What protects instead"),
        "{noted:?}"
    );
}
