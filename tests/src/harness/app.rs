//! The product as its users get it: an API process, a worker process, and a database of their own.

use std::path::PathBuf;

use bulkhead_compute::templates;
use bulkhead_kernel::ids::JobId;
use tokio::process::Command;
use uuid::Uuid;

use super::{
    Client, TestDb,
    server::{Server, path_of},
    test_env,
};

/// How an [`App`] differs from the usual one.
#[derive(Default)]
pub struct Options {
    /// Settings beyond the usual ones.
    pub settings: Vec<(&'static str, String)>,
    /// Leaves the worker out; see [`App::start_worker`].
    pub without_worker: bool,
    /// A database on a server of the test's own.
    pub db: Option<TestDb>,
}

/// A running product.
pub struct App {
    pub db: TestDb,
    pub api: Server,
    pub worker: Option<Server>,
    pub client: Client,
    pub internal: Client,
    /// The settings of both processes.
    pub env: Vec<(String, String)>,
    /// Where the simulated hypervisor keeps its machines.
    pub simulator: PathBuf,
    /// Where archives of tenants lie.
    pub archives: PathBuf,
    /// Where checkpoints of audit logs lie.
    pub checkpoints: PathBuf,
}

impl App {
    /// API and worker with the usual settings of tests.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// API and worker with some settings of the test's own.
    pub async fn with(options: Options) -> Self {
        let db = match options.db {
            Some(db) => db,
            None => TestDb::new().await,
        };
        templates::service::seed(&db.db(&[])).await.unwrap();
        let simulator = std::env::temp_dir().join(format!("bulkhead-sim-{}", JobId::new()));
        let archives = std::env::temp_dir().join(format!("bulkhead-archives-{}", JobId::new()));
        let mut env = usual_settings(&simulator, keys().await);
        env.push(("BULKHEAD__ARCHIVES__DIR".into(), archives.display().to_string()));
        let checkpoints = std::env::temp_dir().join(format!("bulkhead-checkpoints-{}", JobId::new()));
        env.push((
            "BULKHEAD__AUDIT__CHECKPOINTS_DIR".into(),
            checkpoints.display().to_string(),
        ));
        env.extend(db.settings());
        env.push(("BULKHEAD__REDIS__KEY_PREFIX".into(), db.name().into()));
        env.extend(options.settings.into_iter().map(|(key, value)| (key.to_owned(), value)));
        let api = Server::start("bulkhead-api", &env).await;
        let mut app = Self {
            client: Client::new(api.url("public")),
            internal: Client::new(api.url("internal")),
            db,
            api,
            worker: None,
            env,
            simulator,
            archives,
            checkpoints,
        };
        if !options.without_worker {
            app.worker = Some(app.start_worker().await);
        }
        app
    }

    /// One more worker process.
    pub async fn start_worker(&self) -> Server {
        Server::start("bulkhead-worker", &self.env).await
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.simulator);
        let _ = std::fs::remove_dir_all(&self.archives);
        let _ = std::fs::remove_dir_all(&self.checkpoints);
    }
}

fn usual_settings(simulator: &std::path::Path, keys: PathBuf) -> Vec<(String, String)> {
    [
        ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("SERVER__INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("WORKER__INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("DATABASE__TENANT_CONNECTIONS", "4".to_owned()),
        ("DATABASE__CONTROL_CONNECTIONS", "3".to_owned()),
        // Tests share two cores with each other: what waits for a connection waits longer than a user would.
        ("DATABASE__ACQUIRE_TIMEOUT_MS", "5000".to_owned()),
        ("REDIS__URL", test_env("TEST_REDIS_URL")),
        ("REDIS__TIMEOUT_MS", "1000".to_owned()),
        ("AUTH__KEYS_DIR", keys.display().to_string()),
        ("AUTH__REQUIRE_VERIFIED_EMAIL", "false".to_owned()),
        ("AUTH__ARGON2_MEMORY_KIB", "64".to_owned()),
        ("AUTH__ARGON2_PASSES", "1".to_owned()),
        ("JOBS__LEASE_MS", "1500".to_owned()),
        ("JOBS__POLL_MS", "100".to_owned()),
        ("JOBS__RETRY_BASE_MS", "50".to_owned()),
        ("COMPUTE__SIMULATOR_DIR", simulator.display().to_string()),
        ("COMPUTE__SIMULATOR_BOOT_MS", "50".to_owned()),
        ("COMPUTE__LEASE_MS", "1500".to_owned()),
        ("COMPUTE__POLL_MS", "50".to_owned()),
        ("AUDIT__SEAL_MS", "100".to_owned()),
        ("AUDIT__CHECKPOINT_MS", "0".to_owned()),
        ("TELEMETRY__LOG_FORMAT", "json".to_owned()),
    ]
    .map(|(key, value)| (format!("BULKHEAD__{key}"), value))
    .into()
}

/// One pair of signing keys for the whole run, made by the product's own command.
async fn keys() -> PathBuf {
    let port = test_env("TEST_DATABASE_URL")
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .replace('/', "-");
    let shared = std::env::temp_dir().join(format!("bulkhead-test-keys-{port}"));
    if !shared.exists() {
        let own = std::env::temp_dir().join(format!("bulkhead-test-keys-{}", Uuid::now_v7()));
        let status = Command::new(path_of("bulkhead-api"))
            .args(["generate-keys", "--dir"])
            .arg(&own)
            .status()
            .await
            .unwrap();
        assert!(status.success());
        // Whoever comes second finds the place taken and uses what is there.
        if std::fs::rename(&own, &shared).is_err() {
            let _ = std::fs::remove_dir_all(&own);
        }
    }
    shared
}
