//! The worker as a process: killed, stopped and started again with the same arguments.

use std::time::Duration;

use bulkhead_kernel::ids::{IdentityId, JobId};
use bulkhead_mail::{Template, jobs::SendMail};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use super::{reaches, row, submit};
use crate::harness::{Relay, TestDb, eventually, server::Server};

/// A relay that takes every call and never says a word, so that a mail hangs in its handler.
struct Silence(TcpListener);

impl Silence {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Waits until a handler has called; it hangs as long as the connection is kept.
    async fn called(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }

    fn settings(&self, test: &TestDb) -> Vec<(String, String)> {
        settings(test, &format!("smtp://{}", self.0.local_addr().unwrap()))
    }
}

/// Of a worker that mails over this relay.
fn settings(test: &TestDb, relay: &str) -> Vec<(String, String)> {
    let own = [
        ("WORKER__INTERNAL_LISTEN", "127.0.0.1:0"),
        ("WORKER__SHUTDOWN_GRACE_SECS", "1"),
        ("JOBS__LEASE_MS", "900"),
        ("JOBS__POLL_MS", "50"),
        ("JOBS__RETRY_BASE_MS", "50"),
        ("MAIL__DRIVER", "smtp"),
        ("MAIL__SMTP_URL", relay),
        ("MAIL__LINK_BASE", "https://app.example.com"),
        ("MAIL__TIMEOUT_SECS", "300"),
    ];
    let own = own.map(|(key, value)| (format!("BULKHEAD__{key}"), value.to_owned()));
    test.settings().into_iter().chain(own).collect()
}

async fn mail(test: &TestDb) -> JobId {
    let to = IdentityId::new();
    sqlx::query!(
        "INSERT INTO control.identities (id, email, first_name, last_name) VALUES ($1, 'ada@example.org', 'Ada', 'L')",
        to.uuid(),
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
    let template = Template::AccountCreated;
    submit(&test.db(&[]), &SendMail { to, template }).await
}

#[tokio::test]
async fn a_job_that_takes_three_processes_down_is_dead() {
    let test = TestDb::new().await;
    let silence = Silence::start().await;
    let env = silence.settings(&test);
    let job = mail(&test).await;
    for n in 1..=3 {
        let worker = Server::start("bulkhead-worker", &env).await;
        let _hanging = silence.called().await;
        worker.kill().await;
        let row = row(&test, job).await;
        assert_eq!(
            (row.state.as_str(), row.attempt, row.lost_leases),
            ("running", n, n - 1)
        );
    }
    let mut worker = Server::start("bulkhead-worker", &env).await;
    let dead = reaches(&test, job, "dead").await;
    assert_eq!((dead.attempt, dead.lost_leases), (3, 3));
    assert!(worker.stop().await);
}

#[tokio::test]
async fn a_process_that_slept_past_its_lease_changes_nothing_when_it_wakes() {
    let test = TestDb::new().await;
    let (silence, relay) = (Silence::start().await, Relay::start().await);
    let job = mail(&test).await;
    let mut asleep = Server::start("bulkhead-worker", &silence.settings(&test)).await;
    let hanging = silence.called().await;
    signal(&asleep, "-STOP").await;
    let url = relay.settings().remove(1).1;
    let mut other = Server::start("bulkhead-worker", &settings(&test, &url)).await;
    let done = reaches(&test, job, "done").await;
    assert_eq!((done.attempt, done.lost_leases), (2, 1));
    signal(&asleep, "-CONT").await;
    // Its handler fails now, or was dropped already; either way it has no say any more.
    drop(hanging);
    eventually("it knows that the job is not its own", async || {
        let log = asleep.log();
        log.iter()
            .any(|line| line.contains(r#""outcome":"lost""#))
            .then_some(())
    })
    .await;
    let after = row(&test, job).await;
    assert_eq!((after.state.as_str(), after.attempt, after.lost_leases), ("done", 2, 1));
    assert_eq!(after.last_error, done.last_error);
    assert_eq!(relay.mails(1).await.len(), 1);
    assert!(asleep.stop().await);
    assert!(other.stop().await);
}

async fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    let status = Command::new("kill").args([signal, &pid]).status().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_process_ends_within_its_grace_and_loses_nothing() {
    let test = TestDb::new().await;
    let silence = Silence::start().await;
    let env = silence.settings(&test);
    let job = mail(&test).await;
    let mut worker = Server::start("bulkhead-worker", &env).await;
    let _hanging = silence.called().await;
    let started = Instant::now();
    assert!(worker.stop().await, "it ends well");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let row = row(&test, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.lost_leases), ("queued", 0, 0));
}
