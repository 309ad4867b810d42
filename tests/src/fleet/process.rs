//! The command, as a process that is killed.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{
    Lineage, Message,
    fleet::{self, RunState},
};
use sqlx::Executor;
use tokio::process::{Child, Command};

use super::{NICK, Stage, all};
use crate::harness::{App, eventually, server::path_of};

/// A folder with the migrations of the next release.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bulkhead-migrations-{}", TenantId::new()));
        std::fs::create_dir(&path).unwrap();
        let first = &Lineage::product().baseline().sql;
        for (name, text) in [
            ("0001_baseline.sql", first.to_string()),
            ("0002_step.sql", NICK.to_owned()),
            ("0002_baseline.sql", format!("{first}\n{NICK}")),
        ] {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(env: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(path_of("bulkhead-api"));
    command
        .arg("migrate")
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn told(env: &[(String, String)], arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } =
        tokio::time::timeout(Duration::from_secs(120), command(env, arguments).output())
            .await
            .expect("the command ends")
            .unwrap();
    let text = [stdout, stderr].concat();
    (status.success(), String::from_utf8(text).unwrap())
}

/// Requests of all tenants as the API makes them, until told to stop; gives how many were answered, and every failure.
struct Load {
    stop: Arc<AtomicBool>,
    n_answered: Arc<AtomicU64>,
    lanes: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(stage: &Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let n_answered = Arc::new(AtomicU64::new(0));
        let lanes = (0..4).map(|lane| {
            let (db, tenants) = (stage.db.clone(), stage.tenants.clone());
            let (stop, n_answered) = (stop.clone(), n_answered.clone());
            tokio::spawn(async move {
                let mut errors = Vec::new();
                for round in 0.. {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let tenant = tenants[(round * 7 + lane) % tenants.len()];
                    let answer = if round % 2 == 0 {
                        let read = Message::new().sql("SELECT identity_id, email FROM members");
                        db.read(tenant, &read).await.map(|_| ())
                    } else {
                        async {
                            let mut tx = db.tenant(tenant).await?;
                            let insert = "INSERT INTO members (identity_id, email, first_name, last_name) \
                                          VALUES (gen_random_uuid(), gen_random_uuid()::text, '', '')";
                            tx.conn().execute(sqlx::raw_sql(insert)).await?;
                            tx.commit().await
                        }
                        .await
                    };
                    match answer {
                        Ok(()) => n_answered.fetch_add(1, Relaxed),
                        Err(error) => {
                            errors.push(format!("{tenant}: {:#}", anyhow::Error::from(error)));
                            0
                        }
                    };
                }
                errors
            })
        });
        let lanes = lanes.collect();
        Self {
            stop,
            n_answered,
            lanes,
        }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Relaxed);
        let mut errors = Vec::new();
        for lane in self.lanes {
            errors.extend(lane.await.unwrap());
        }
        errors
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twice_under_load_with_three_poisoned_tenants() {
    let mut stage = Stage::with(40).await;
    let poisoned = [5, 17, 31];
    for place in poisoned {
        stage.poison(place).await;
    }
    let folder = Folder::new();
    let from = folder.0.to_str().unwrap();
    let env = stage.test.settings();
    // The gates hold advisory locks alone, so that no request waits at them.
    let arguments = [
        "run",
        "--migrations",
        from,
        "--max-failures",
        "3",
        "--lock-timeout-ms",
        "60000",
        // One after the other, so that a gate tells how far the run is.
        "--workers",
        "1",
    ];
    let load = Load::start(&stage);
    let order = sqlx::query_scalar!("SELECT id FROM control.tenants ORDER BY md5(id::text)")
        .fetch_all(&mut stage.admin)
        .await
        .unwrap();
    // Far enough from the beginning that something was done, and from the end that something is left.
    for behind in [8, 20] {
        let place = stage
            .tenants
            .iter()
            .position(|one| one.uuid() == order[behind])
            .unwrap();
        let mut gate = stage.gate(place).await;
        let mut runner: Child = command(&env, &arguments).spawn().unwrap();
        gate.until_somebody_waits().await;
        runner.kill().await.unwrap();
        gate.open().await;
        let n_done = stage.at_version(2).await.len();
        assert!(n_done < 37, "the kill came too late");
    }
    let (is_well, text) = told(&env, &arguments).await;
    assert!(!is_well && text.contains(" goes on."), "{text}");
    let answered = load.n_answered.load(Relaxed);
    eventually("more requests are answered after the run", async || {
        (load.n_answered.load(Relaxed) > answered + 40).then_some(())
    })
    .await;
    let errors = load.end().await;
    assert_eq!(errors, [""; 0]);

    let healthy: Vec<_> = all(40).into_iter().filter(|place| !poisoned.contains(place)).collect();
    assert_eq!(stage.at_version(2).await, healthy);
    assert_eq!(stage.with_nick().await, healthy);
    let mut tx = stage.db.control().await.unwrap();
    let runs = fleet::newest(&mut tx).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!((runs.state, runs.counts.done), (RunState::Failed, 37));
    assert_eq!(stage.failed(runs.id).await, poisoned);
    let named: Vec<_> = text.lines().filter(|line| line.starts_with("failed: ")).collect();
    assert_eq!(named.len(), 3, "{text}");
    for place in poisoned {
        assert!(
            named.iter().any(|line| line.contains(&format!("tenant-{place} ("))),
            "{text}"
        );
    }

    let (is_well, text) = told(&env, &["drift", "--migrations", from]).await;
    assert!(
        !is_well && text.contains("37 of 40 tenants are what their version says"),
        "{text}"
    );
    for place in poisoned {
        stage.heal(place).await;
    }
    let (is_well, text) = told(&env, &["retry", "--migrations", from]).await;
    assert!(is_well && text.contains("40 done, 0 failed"), "{text}");
    let (is_well, text) = told(&env, &["drift", "--migrations", from]).await;
    assert!(is_well, "{text}");
}

#[tokio::test]
async fn the_command_plans_runs_and_steers() {
    let stage = Stage::with(4).await;
    let folder = Folder::new();
    let from = folder.0.to_str().unwrap();
    let env = stage.test.settings();
    for arguments in [&[][..], &["control"]] {
        let (is_well, text) = told(&env, arguments).await;
        assert!(is_well && text.contains("control is at the newest version"), "{text}");
    }
    let (is_well, text) = told(&env, &["status"]).await;
    assert!(!is_well && text.contains("there is no such migration"), "{text}");
    let (is_well, text) = told(&env, &["run"]).await;
    assert!(
        is_well && text.contains("is done\n0 done, 0 failed, 0 skipped, 0 left, 4 were there before"),
        "{text}"
    );
    let (is_well, text) = told(&env, &["plan", "--target", "2"]).await;
    assert!(!is_well && text.contains("target must be 1 to 1"), "{text}");
    let (is_well, text) = told(&env, &["plan", "--migrations", from, "--canary", "tenant-1"]).await;
    assert!(is_well && text.contains("version 1: 4 tenants run 0002_step"), "{text}");
    assert!(text.contains("rings: canaries: 1, 1 %: 1, 10 %: 0, 100 %: 2"), "{text}");
    let (is_well, text) = told(&env, &["run", "--canary", "nobody"]).await;
    assert!(!is_well && text.contains("there is no tenant nobody"), "{text}");

    stage.poison(1).await;
    let run = ["run", "--migrations", from, "--canary", "tenant-1"];
    let (is_well, text) = told(&env, &run).await;
    assert!(
        !is_well && text.contains("is stopped: the canary tenant-1 failed"),
        "{text}"
    );
    let (is_well, text) = told(&env, &run).await;
    assert!(!is_well && text.contains("another migration is open"), "{text}");
    let (is_well, text) = told(&env, &["pause"]).await;
    assert!(!is_well && text.contains("the migration is stopped"), "{text}");
    stage.heal(1).await;
    let (is_well, text) = told(&env, &["retry", "--migrations", from]).await;
    assert!(is_well && text.contains("4 done, 0 failed"), "{text}");
    let (is_well, text) = told(&env, &["status"]).await;
    assert!(is_well && text.contains("to version 2 is done"), "{text}");
}

#[tokio::test]
async fn a_folder_that_is_no_lineage_is_refused() {
    let app = App::with(crate::harness::Options {
        without_worker: true,
        ..Default::default()
    })
    .await;
    let folder = Folder::new();
    std::fs::remove_file(folder.0.join("0002_baseline.sql")).unwrap();
    let (is_well, text) = told(&app.env, &["run", "--migrations", folder.0.to_str().unwrap()]).await;
    assert!(!is_well && text.contains("version 2 has no baseline"), "{text}");
}
