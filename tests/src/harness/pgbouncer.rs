//! A PgBouncer of the test's own, in any of its modes.

use std::{net::TcpListener, time::Duration};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    TestDb,
    database::optional_env,
    eventually,
    postgres::{as_server_user, run},
};

/// Before the server of one test database. Killed when dropped.
pub struct PgBouncer {
    _process: Child,
    folder: String,
    port: u16,
}

impl PgBouncer {
    /// Starts one, with at most `size` server connections for each login. `None` where this machine has no PgBouncer;
    /// then the test has nothing to show, and says so.
    pub async fn start(test: &TestDb, mode: &str, size: usize) -> Option<Self> {
        let Some(program) = optional_env("BULKHEAD_TEST_PGBOUNCER") else {
            eprintln!("skipped: there is no pgbouncer on this machine (make test-pgbouncer installs it)");
            return None;
        };
        let folder = run("mktemp", &["-d", "/tmp/bulkhead-pgb.XXXXXX"])
            .await
            .trim()
            .to_owned();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings(test, mode, size, port, &folder);
        std::fs::write(format!("{folder}/pgbouncer.ini"), settings).unwrap();
        std::fs::write(format!("{folder}/users"), "\"postgres\" \"\"\n").unwrap();
        let file = format!("{folder}/pgbouncer.ini");
        let (program, arguments) = as_server_user(&program, &["-q", &file]);
        let process = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("pgbouncer answers", async || {
            let connected = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(("127.0.0.1", port))).await;
            connected.ok()?.ok()
        })
        .await;
        Some(Self {
            _process: process,
            folder,
            port,
        })
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        format!("postgres://127.0.0.1:{}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn settings(test: &TestDb, mode: &str, size: usize, port: u16, folder: &str) -> String {
    let server = test.server().rsplit_once('@').unwrap().1;
    let server = server.split('/').next().unwrap().rsplit_once(':').unwrap().1;
    format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nlogfile = {folder}/log\nauth_type = trust\nauth_file = {folder}/users\nauth_user = postgres\n\
         auth_query = SELECT rolname::text, ''::text FROM pg_catalog.pg_roles WHERE rolname = $1\n\
         pool_mode = {mode}\ndefault_pool_size = {size}\nignore_startup_parameters = extra_float_digits\n"
    )
}
