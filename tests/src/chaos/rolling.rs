//! Two APIs and two workers are restarted one after the other under load, as an orchestrator does it: SIGTERM, wait, start.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    field::until,
    harness::{App, Options, Relay, server::Server},
    http::{Answer, Failure, call},
    plan::{Plan, Scenario},
    report::{Report, progress},
    writes::viewer,
};

const GRACE_SECS: u64 = 5;

/// Callers at a time.
const CALLERS: usize = 4;

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(50, 3);
    let mut rng = plan.rng(Scenario::Rolling);
    let relay = Relay::start().await;
    let app = product(&relay, &plan).await;
    let founder = app.founder("acme").await;
    let role = viewer(&app, &founder).await;
    let mut apis = [start("bulkhead-api", &app).await, start("bulkhead-api", &app).await];
    let mut workers = [
        start("bulkhead-worker", &app).await,
        start("bulkhead-worker", &app).await,
    ];
    let balancer = Arc::new(Balancer::new(&apis));
    let load = Load::start(&balancer, &founder.token, &role);
    let mut report = Report::new(rounds, format!("{} SIGTERMs, {rounds} of each process", rounds * 4));
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        for n in 0..2 {
            pause(&mut rng).await;
            longest = longest.max(restart("bulkhead-api", &app, &mut apis[n], &mut report).await);
            balancer.set(n, &apis[n]);
            pause(&mut rng).await;
            longest = longest.max(restart("bulkhead-worker", &app, &mut workers[n], &mut report).await);
        }
        if round % 10 == 0 {
            progress(&format!("{round} of {rounds}"));
        }
    }
    let failures = load.stop().await;
    judge(&app, &balancer, &mut report, failures).await;
    report.within("a stop took at most", longest, Duration::from_secs(GRACE_SECS + 2));
    report
}

async fn pause(rng: &mut StdRng) {
    sleep(Duration::from_millis(rng.gen_range(50..400))).await;
}

async fn product(relay: &Relay, plan: &Plan) -> App {
    let mut settings = relay.settings();
    let grace = GRACE_SECS.to_string();
    let lease = plan.lease().as_millis().to_string();
    let more = [
        ("BULKHEAD__AUTH__ACCESS_TOKEN_SECS", "86400"),
        ("BULKHEAD__TENANTS__MAX_PENDING_INVITATIONS", "100000"),
        ("BULKHEAD__SERVER__SHUTDOWN_GRACE_SECS", &grace),
        ("BULKHEAD__WORKER__SHUTDOWN_GRACE_SECS", &grace),
        ("BULKHEAD__JOBS__LEASE_MS", &lease),
    ];
    settings.extend(more.map(|(key, value)| (key, value.to_owned())));
    App::with(Options {
        settings,
        ..Options::default()
    })
    .await
}

async fn start(binary: &str, app: &App) -> Server {
    Server::start(binary, &app.env).await
}

/// Gives how long the old one took to end.
async fn restart(binary: &str, app: &App, server: &mut Server, report: &mut Report) -> Duration {
    let began = Instant::now();
    if !server.stop().await {
        report.anomaly(format!("{binary} did not end well"));
    }
    let took = began.elapsed();
    *server = start(binary, app).await;
    took
}

/// Sends each request to the next API that is ready.
struct Balancer {
    /// Public and internal listener of each.
    apis: RwLock<Vec<(String, String)>>,
    turn: AtomicUsize,
    n_answered: AtomicUsize,
    n_turned_away: AtomicUsize,
}

impl Balancer {
    fn new(apis: &[Server]) -> Self {
        Self {
            apis: RwLock::new(apis.iter().map(listeners).collect()),
            turn: AtomicUsize::new(0),
            n_answered: AtomicUsize::new(0),
            n_turned_away: AtomicUsize::new(0),
        }
    }

    fn set(&self, n: usize, api: &Server) {
        self.apis.write().unwrap()[n] = listeners(api);
    }

    /// Asks one that says it is ready, and the other one where nobody takes the call. What was asked is not asked again.
    async fn call(&self, path: &str, token: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let apis = self.apis.read().unwrap().clone();
        let turn = self.turn.fetch_add(1, SeqCst);
        for n in 0..apis.len() {
            let (public, internal) = &apis[(turn + n) % apis.len()];
            let ready = call(internal, "/readyz", "", None).await;
            if ready.is_ok_and(|ready| ready.status == 200) {
                let answer = call(public, path, token, body).await;
                if !matches!(answer, Err(Failure::Refused)) {
                    return answer;
                }
            }
            self.n_turned_away.fetch_add(1, SeqCst);
        }
        Err(Failure::Refused)
    }
}

fn listeners(api: &Server) -> (String, String) {
    (api.url("public"), api.url("internal"))
}

/// Callers that write and read until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(balancer: &Arc<Balancer>, token: &str, role: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (balancer, stop) = (balancer.clone(), stop.clone());
            let (token, role) = (token.to_owned(), role.to_owned());
            callers.spawn(async move {
                let mut failures = Vec::new();
                for n in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let wanted = json!({ "email": format!("c{caller}n{n}@example.org"), "role_ids": [role] });
                    let (path, body, expected) = match n % 2 {
                        0 => ("/api/v1/invitations", Some(&wanted), 201),
                        _ => ("/api/v1/invitations?limit=5", None, 200),
                    };
                    match balancer.call(path, &token, body).await {
                        Ok(answer) if answer.status == expected => {
                            balancer.n_answered.fetch_add(1, SeqCst);
                        }
                        Ok(answer) => failures.push(format!("{path}: {} {}", answer.status, answer.body)),
                        Err(failure) => failures.push(format!("{path}: {failure:?}")),
                    }
                    sleep(Duration::from_millis(10)).await;
                }
                failures
            });
        }
        Self { stop, callers }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        self.callers.join_all().await.concat()
    }
}

async fn judge(app: &App, balancer: &Balancer, report: &mut Report, failures: Vec<String>) {
    let n_answered = balancer.n_answered.load(SeqCst);
    let n_turned_away = balancer.n_turned_away.load(SeqCst);
    report.checked(format!(
        "{n_answered} requests answered, {n_turned_away} sent to the other API"
    ));
    report.none(failures.len() as i64, "requests failed");
    for failure in failures.iter().take(3) {
        report.anomaly(failure.clone());
    }
    let mut admin = app.db.connect("postgres").await;
    let mut open = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM control.jobs WHERE kind = 'invitations.send' AND state <> 'done'")
            .fetch_one(&mut admin)
            .await
            .unwrap()
    };
    until(Duration::from_secs(60), async || open().await == 0).await;
    report.none(open().await, "jobs are not done");
    let (n_jobs, n_lost_leases): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(lost_leases), 0) FROM control.jobs WHERE kind = 'invitations.send'",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    report.checked(format!("{n_jobs} jobs done, {n_lost_leases} leases lost"));
    if n_jobs == 0 || n_answered == 0 {
        report.anomaly("there was no load");
    }
}
