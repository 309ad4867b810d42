//! Mail: enqueued with the change it tells of, sent by the worker, received by a relay.

mod links;

use bulkhead_jobs::{Owner, enqueue_for};
use bulkhead_kernel::{
    ids::{IdentityId, JobId},
    origin::Origin,
};
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{ControlTx, Db};
use serde_json::json;

use crate::harness::{App, Mail, Options, Relay, eventually};

async fn start(relay: &Relay) -> App {
    let settings = relay.settings();
    App::with(Options {
        settings,
        ..Options::default()
    })
    .await
}

async fn identity(app: &App, email: &str) -> IdentityId {
    let mut connection = app.db.connect("postgres").await;
    let id = sqlx::query_scalar!("SELECT id FROM control.identities WHERE email = $1", email)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    id.into()
}

/// Everything the database keeps about jobs, as text.
async fn jobs(app: &App) -> Vec<String> {
    let mut connection = app.db.connect("postgres").await;
    let rows =
        sqlx::query_scalar!(r#"SELECT row_to_json(j)::text AS "row!" FROM control.jobs AS j WHERE kind = 'mail.send'"#);
    rows.fetch_all(&mut connection).await.unwrap()
}

async fn welcome(tx: &mut ControlTx, to: IdentityId, slug: &str) -> JobId {
    let template = Template::Welcome {
        tenant: format!("Company {slug}"),
        slug: slug.into(),
    };
    let origin = Origin::system("test");
    let job = SendMail { to, template };
    enqueue_for(&origin, tx, Owner::Platform, &job).await.unwrap().unwrap()
}

async fn send_welcome(db: &Db, to: IdentityId, slug: &str) -> JobId {
    let mut tx = db.control().await.unwrap();
    let job = welcome(&mut tx, to, slug).await;
    tx.commit().await.unwrap();
    job
}

fn subjects(mails: &[Mail]) -> Vec<&str> {
    mails.iter().map(|mail| mail.header("Subject")).collect()
}

#[tokio::test]
async fn a_registration_is_told_to_its_address_and_to_nobody_else() {
    let relay = Relay::start().await;
    let app = start(&relay).await;
    let person = json!({
        "email": "ada@example.org", "password": "correct horse battery staple",
        "first_name": "http://evil.example", "last_name": "Lovelace",
    });
    let first = app.client.post("/api/v1/auth/register", &person).await.expect(201);
    relay.mails(1).await;
    let second = app.client.post("/api/v1/auth/register", &person).await.expect(201);
    assert_eq!(first, second);
    let mails = relay.mails(2).await;
    assert_eq!(subjects(&mails), ["Your account", "You already have an account"]);
    for mail in &mails {
        assert_eq!(
            (mail.from.as_str(), mail.to.as_str()),
            ("no-reply@example.com", "ada@example.org")
        );
        assert!(!mail.text.contains("evil"), "{}", mail.text);
    }
    for trace in jobs(&app)
        .await
        .iter()
        .chain(&app.api.log())
        .chain(&app.worker.as_ref().unwrap().log())
    {
        assert!(!trace.contains("ada@") && !trace.contains("evil"), "{trace}");
    }
}

#[tokio::test]
async fn a_founder_is_welcomed_once() {
    let relay = Relay::start().await;
    let app = start(&relay).await;
    app.founder("acme").await;
    let mails = relay.mails(2).await;
    assert_eq!(mails.len(), 2);
    let welcome = mails
        .iter()
        .find(|mail| mail.header("Subject") == "acme is ready")
        .unwrap();
    assert_eq!(welcome.to, "founder@acme.example");
    assert!(welcome.text.contains("\n\nHello Ada,\n"), "{}", welcome.text);
}

#[tokio::test]
async fn what_is_rolled_back_is_never_told() {
    let relay = Relay::start().await;
    let app = start(&relay).await;
    app.register("ada@example.org").await;
    relay.mails(1).await;
    let to = identity(&app, "ada@example.org").await;
    let db = app.db.db(&[]);
    let mut tx = db.control().await.unwrap();
    welcome(&mut tx, to, "undone").await;
    drop(tx);
    send_welcome(&db, to, "kept").await;
    let mails = relay.mails(2).await;
    assert_eq!(subjects(&mails), ["Your account", "Company kept is ready"]);
    assert!(jobs(&app).await.iter().all(|job| !job.contains("undone")));
}

#[tokio::test]
async fn a_repeat_carries_the_same_message_id() {
    let relay = Relay::losing(2).await;
    let app = App::with(Options {
        settings: relay.settings(),
        without_worker: true,
        ..Options::default()
    })
    .await;
    app.register("ada@example.org").await;
    let _worker = app.start_worker().await;
    let mails = relay.mails(3).await;
    assert_eq!(
        mails.iter().map(|mail| mail.is_taken).collect::<Vec<_>>(),
        [false, false, true]
    );
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(
        ids[0].starts_with("<job_") && ids[0] == ids[1] && ids[1] == ids[2],
        "{ids:?}"
    );
    eventually("the job is done", async || {
        jobs(&app).await[0].contains(r#""state":"done""#).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_mail_to_nobody_is_given_up_at_once() {
    let relay = Relay::start().await;
    let app = start(&relay).await;
    send_welcome(&app.db.db(&[]), IdentityId::new(), "ghost").await;
    let dead = eventually("the job is dead", async || {
        let jobs = jobs(&app).await;
        jobs[0].contains(r#""state":"dead""#).then_some(jobs)
    })
    .await;
    assert!(
        dead[0].contains(r#""attempt":1"#) && dead[0].contains("there is no such identity"),
        "{}",
        dead[0]
    );
    assert!(relay.mails(0).await.is_empty());
}

#[tokio::test]
async fn the_log_driver_names_the_identity_and_no_address() {
    let app = App::start().await;
    app.register("ada@example.org").await;
    let to = identity(&app, "ada@example.org").await.to_string();
    let worker = app.worker.as_ref().unwrap();
    eventually("the mail is in the log", async || {
        let log = worker.log();
        log.iter()
            .any(|line| line.contains("account_created") && line.contains(&to))
            .then_some(())
    })
    .await;
    assert!(
        worker
            .log()
            .iter()
            .all(|line| !line.contains("ada@") && !line.contains("Hello"))
    );
}
