//! A PostgreSQL of the test's own, to be stopped and started again.

use std::{net::TcpListener, process::Output, time::Duration};

use tokio::process::Command;

use super::test_env;

/// A private server in a folder of its own.
pub struct Postgres {
    folder: String,
    port: u16,
    options: String,
}

impl Postgres {
    /// Makes and starts one.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with some options of the server, as on its command line.
    pub async fn start_with(options: &str) -> Self {
        let folder = run("mktemp", &["-d", "/tmp/bulkhead-pg.XXXXXX"]).await;
        let folder = folder.trim().to_owned();
        let data = format!("{folder}/data");
        let initdb = [
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ];
        run(&program("initdb"), &initdb).await;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self {
            folder,
            port,
            options: options.to_owned(),
        };
        server.resume().await;
        server
    }

    /// The URL of its superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// All that it has written to its log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(format!("{}/log", self.folder)).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops it at once, without a word to its clients.
    pub async fn stop(&self) {
        let data = format!("{}/data", self.folder);
        run(&program("pg_ctl"), &["-D", &data, "-m", "immediate", "-w", "stop"]).await;
    }

    /// Starts it again with what it holds.
    pub async fn resume(&self) {
        let (data, log) = (format!("{}/data", self.folder), format!("{}/log", self.folder));
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off {}",
            self.port, self.folder, self.options
        );
        run(
            &program("pg_ctl"),
            &["-D", &data, "-l", &log, "-o", &options, "-w", "start"],
        )
        .await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = format!("{}/data", self.folder);
        let (program, arguments) = as_server_user(&program("pg_ctl"), &["-D", &data, "-m", "immediate", "-w", "stop"]);
        let _ = std::process::Command::new(program).args(arguments).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program(name: &str) -> String {
    format!("{}/{name}", test_env("BULKHEAD_TEST_PG_BIN"))
}

/// PostgreSQL refuses to run as root, so the script that starts the tests says as whom.
pub(super) fn as_server_user(program: &str, arguments: &[&str]) -> (String, Vec<String>) {
    let runas = test_env("BULKHEAD_TEST_RUNAS");
    let words = runas
        .split_whitespace()
        .chain([program])
        .chain(arguments.iter().copied());
    let mut words = words.map(ToOwned::to_owned);
    (words.next().unwrap(), words.collect())
}

pub(super) async fn run(program: &str, arguments: &[&str]) -> String {
    let (program, arguments) = as_server_user(program, arguments);
    // What the server writes goes to its log; nothing may keep our pipe open once pg_ctl has ended.
    let output = tokio::time::timeout(Duration::from_secs(60), Command::new(program).args(arguments).output());
    let Output { status, stdout, stderr } = output.await.unwrap().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
