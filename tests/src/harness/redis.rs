//! A Redis of the test's own, to be paused, emptied, killed and started again.

use std::net::TcpListener;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use super::{eventually, test_env};

/// A private server that keeps nothing on disk. Killed when dropped.
pub struct RedisServer {
    process: Child,
    port: u16,
}

impl RedisServer {
    /// Starts one.
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::on(port).await
    }

    async fn on(port: u16) -> Self {
        let process = Command::new(test_env("BULKHEAD_TEST_REDIS_SERVER"))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .current_dir(std::env::temp_dir())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("redis answers", async || ask(port, "PING").await).await;
        Self { process, port }
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Takes connections and says nothing from here on.
    pub async fn pause(&self) {
        self.signal("-STOP").await;
    }

    /// Goes on.
    pub async fn resume(&self) {
        self.signal("-CONT").await;
    }

    /// SIGKILL, and a new one in its place, empty.
    pub async fn replace(mut self) -> Self {
        self.process.kill().await.unwrap();
        Self::on(self.port).await
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Answers one command, in the raw form of the protocol.
    pub async fn ask(&self, command: &str) -> String {
        ask(self.port, command).await.unwrap()
    }

    async fn signal(&self, signal: &str) {
        let pid = self.process.id().unwrap().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(status.success());
    }
}

/// What the server says until it hangs up; QUIT makes it do so.
async fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream
        .write_all(format!("{command}\r\nQUIT\r\n").as_bytes())
        .await
        .ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.ok()?;
    Some(said)
}
