//! The processes of a run: the product's binaries and the bare server.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    Options,
    http::{Connection, get},
    postgres::Server,
};

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all processes of the product are told.
#[derive(Clone)]
pub(crate) struct Settings {
    bin_dir: PathBuf,
    work_dir: PathBuf,
    common: Vec<(String, String)>,
}

/// Where a process writes its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Into a file of the work folder.
    File,
    /// Nowhere: the line of each request is made and written, but no disk is kept busy with gigabytes of them.
    Null,
}

/// A running process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it answers.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("ending a process")
    }
}

impl Settings {
    /// For a database on `server`, with the options' own settings last so that they win.
    pub(crate) fn new(options: &Options, server: &Server, database: &str) -> anyhow::Result<Self> {
        let path = |name: &str| options.work_dir.join(name).display().to_string();
        let mut common = vec![
            ("DATABASE__OWNER_URL".to_owned(), server.url("postgres", database)),
            ("REDIS__URL".to_owned(), options.redis_url.clone()),
            ("AUTH__KEYS_DIR".to_owned(), path("keys")),
            ("AUTH__REQUIRE_VERIFIED_EMAIL".to_owned(), "false".to_owned()),
            // Tokens must outlive the run, and hashing passwords is not what is measured here.
            ("AUTH__ACCESS_TOKEN_SECS".to_owned(), "86400".to_owned()),
            ("AUTH__ARGON2_MEMORY_KIB".to_owned(), "64".to_owned()),
            ("AUTH__ARGON2_PASSES".to_owned(), "1".to_owned()),
            ("COMPUTE__SIMULATOR_DIR".to_owned(), path("simulator")),
            ("AUDIT__CHECKPOINTS_DIR".to_owned(), path("checkpoints")),
            // The floors reach all tenants over one login.
            ("DATABASE__TENANTS_PER_SHARD".to_owned(), "100000".to_owned()),
            // Caps come from what benches measure.
            ("DATABASE__CAP_TENANTS".to_owned(), "0".to_owned()),
            ("DATABASE__CAP_RELATIONS".to_owned(), "0".to_owned()),
        ];
        for setting in &options.settings {
            let (name, value) = setting.split_once('=').context("--set wants NAME=VALUE")?;
            common.push((name.trim_start_matches("BULKHEAD__").to_owned(), value.to_owned()));
        }
        fs::create_dir_all(path("simulator"))?;
        Ok(Self {
            bin_dir: options.bin_dir.clone(),
            work_dir: options.work_dir.clone(),
            common: common.into_iter().chain(logins(server, database)).collect(),
        })
    }

    /// The same with some settings more, which win.
    pub(crate) fn with(&self, more: &[(&str, &str)]) -> Self {
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = self.clone();
        settings.common.extend(more);
        settings
    }

    /// Runs a subcommand of the API to its end; gives what it printed.
    pub(crate) async fn api_command(&self, subcommand: &[&str]) -> anyhow::Result<String> {
        let output = self.command("bulkhead-api", &[]).args(subcommand).output().await?;
        if !output.status.success() {
            let (out, err) = (
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
            bail!("bulkhead-api {} failed:\n{out}{err}", subcommand.join(" "));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the API on free ports; `database` stands in for the server when given.
    pub(crate) async fn api(&self, name: &str, log: Log, through: Option<(&Server, &str)>) -> anyhow::Result<Process> {
        let (listen, internal) = (free_address()?, free_address()?);
        let mut own = vec![
            ("SERVER__LISTEN".to_owned(), listen.to_string()),
            ("SERVER__INTERNAL_LISTEN".to_owned(), internal.to_string()),
        ];
        if let Some((server, database)) = through {
            own.extend(logins(server, database));
        }
        let mut command = self.command("bulkhead-api", &own);
        self.start(command.arg("serve"), name, listen, log).await
    }

    /// Starts the worker.
    pub(crate) async fn worker(&self) -> anyhow::Result<Process> {
        let internal = free_address()?;
        let own = [("WORKER__INTERNAL_LISTEN".to_owned(), internal.to_string())];
        let mut command = self.command("bulkhead-worker", &own);
        self.start(command.arg("serve"), "worker", internal, Log::File).await
    }

    /// Starts the bare server, which is this program.
    pub(crate) async fn hello(&self) -> anyhow::Result<Process> {
        let listen = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hello", "--listen", &listen.to_string()]);
        self.start(&mut command, "hello", listen, Log::File).await
    }

    fn command(&self, binary: &str, own: &[(String, String)]) -> Command {
        let mut command = Command::new(self.bin_dir.join(binary));
        command.env_clear().current_dir(&self.work_dir);
        for (name, value) in self.common.iter().chain(own) {
            command.env(format!("BULKHEAD__{name}"), value);
        }
        command
    }

    async fn start(&self, command: &mut Command, name: &str, address: SocketAddr, log: Log) -> anyhow::Result<Process> {
        let path = self.work_dir.join(format!("{name}.log"));
        let file = File::create(&path)?;
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .kill_on_drop(true);
        match log {
            Log::File => command.stdout(file),
            Log::Null => command.stdout(Stdio::null()),
        };
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let started = Instant::now();
        while !is_ready(address).await {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{name} ended ({status}): {}",
                    fs::read_to_string(&path).unwrap_or_default()
                );
            }
            if started.elapsed() > PATIENCE {
                bail!("{name} did not become ready; its log is {}", path.display());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Process { child, address })
    }
}

fn logins(server: &Server, database: &str) -> [(String, String); 2] {
    ["control", "tenant"].map(|login| {
        let url = server.url(&format!("bulkhead_{login}"), database);
        (format!("DATABASE__{}_URL", login.to_uppercase()), url)
    })
}

/// The bare server knows no readiness; any answer will do there.
async fn is_ready(address: SocketAddr) -> bool {
    let asked = async {
        let mut connection = Connection::open(address).await?;
        connection.status_of(&get("/readyz", None)).await
    };
    matches!(asked.await, Ok(200 | 404))
}

/// An address on which nobody listens at the moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
