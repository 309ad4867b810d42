//! The product's own binaries, as processes that can be killed.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

/// A running binary of the product. Killed when dropped.
pub struct Server {
    child: Child,
    addresses: Value,
    exited: watch::Receiver<Vec<String>>,
}

impl Server {
    /// Starts a binary and waits until it says where it listens.
    pub async fn start(binary: &str, env: &[(String, String)]) -> Self {
        let mut child = Command::new(path_of(binary))
            .env_clear()
            // Where make coverage counts what the processes run.
            .envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
            .envs(env.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{binary} does not start ({error}): run the tests with `make test`"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            let mut seen = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(addresses) = listening(&line) {
                    return addresses;
                }
                seen.push(line);
            }
            while let Ok(Some(line)) = stderr.next_line().await {
                seen.push(line);
            }
            panic!("{binary} ended before it listened:\n{}", seen.join("\n"));
        };
        let addresses = timeout(Duration::from_secs(30), listening).await.unwrap();
        let (log, exited) = watch::channel(Vec::new());
        tokio::spawn(collect(lines, log));
        tokio::spawn(async move { while let Ok(Some(_)) = stderr.next_line().await {} });
        Self {
            child,
            addresses,
            exited,
        }
    }

    /// The base URL of the listener of this name, `public` or `internal`.
    pub fn url(&self, listener: &str) -> String {
        format!("http://{}", self.addresses[listener].as_str().unwrap())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and waits for the end. Gives whether it ended well.
    pub async fn stop(&mut self) -> bool {
        let status = Command::new("kill").arg(self.pid().to_string()).status().await.unwrap();
        assert!(status.success());
        let ended = timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.expect("it ends after SIGTERM").unwrap().success()
    }

    /// Writes its log to a file as well, from its beginning.
    pub fn copy_log(&self, path: &Path) {
        let file = File::create(path).unwrap();
        tokio::spawn(follow(self.exited.clone(), file));
    }

    /// All that the process has written to its log so far.
    pub fn log(&self) -> Vec<String> {
        self.exited.borrow().clone()
    }
}

/// Appends to a file what is new in a log.
async fn follow(mut log: watch::Receiver<Vec<String>>, mut file: File) {
    let mut n_copied = 0;
    loop {
        let new = log.borrow_and_update().get(n_copied..).unwrap_or_default().to_vec();
        n_copied += new.len();
        for line in new {
            writeln!(file, "{line}").unwrap();
        }
        if log.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the log for the test to look at, and the pipe from filling.
async fn collect(mut lines: tokio::io::Lines<BufReader<ChildStdout>>, log: watch::Sender<Vec<String>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(line));
    }
}

/// The addresses in the event that a binary writes when it is ready to be asked.
fn listening(line: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    (fields["message"] == "listening").then(|| fields.clone())
}

/// Where cargo puts the workspace's binaries: beside the folder of the test binary.
pub fn path_of(binary: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join(binary)
}
