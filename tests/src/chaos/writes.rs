//! The API dies by SIGKILL in the middle of writes that enqueue: an invitation and the job that mails it are one.

use std::{collections::HashSet, time::Duration};

use bulkhead_kernel::ids::{RoleId, TenantId};
use bulkhead_tenancy::SchemaName;
use rand::Rng;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    harness::{App, Founder, Options, Relay, server::Server},
    http::{Failure, call},
    plan::{Plan, Scenario},
    report::{Report, progress},
};

const COMPANIES: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

/// Writers of one tenant.
const WRITERS: usize = 2;

/// What the writers of one round saw.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<String>,
    n_cut_off: usize,
    refused: Vec<u16>,
}

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(500, 20);
    let mut rng = plan.rng(Scenario::Writes);
    let relay = Relay::start().await;
    let mut app = product(&relay).await;
    let people = founders(&app).await;
    // Nobody works on the jobs, so that all of them can be looked at.
    app.worker.take().unwrap().kill().await;
    let mut seen = Seen::default();
    let mut next = start(&plan, &app);
    for round in 1..=rounds {
        let old = std::mem::replace(&mut app.api, next.join_next().await.unwrap().unwrap());
        old.kill().await;
        next = start(&plan, &app);
        let mut writers = JoinSet::new();
        for (n, (token, role)) in people.iter().cycle().take(people.len() * WRITERS).enumerate() {
            let (base, token, role) = (app.api.url("public"), token.clone(), role.clone());
            writers.spawn(async move { write(&base, &token, &role, &format!("r{round}w{n}")).await });
        }
        sleep(Duration::from_millis(rng.gen_range(100..400))).await;
        let dying = std::process::Command::new("kill")
            .args(["-KILL", &app.api.pid().to_string()])
            .status();
        assert!(dying.unwrap().success());
        while let Some(one) = writers.join_next().await {
            let one = one.unwrap();
            seen.acknowledged.extend(one.acknowledged);
            seen.refused.extend(one.refused);
            seen.n_cut_off += one.n_cut_off;
        }
        if round % 50 == 0 {
            progress(&format!("{round} of {rounds}"));
        }
    }
    judge(&app, rounds, &seen).await
}

async fn product(relay: &Relay) -> App {
    let more = [
        ("BULKHEAD__AUTH__ACCESS_TOKEN_SECS", "86400"),
        ("BULKHEAD__TENANTS__MAX_PENDING_INVITATIONS", "100000"),
    ];
    let more = more.map(|(key, value)| (key, value.to_owned()));
    let settings = relay.settings().into_iter().chain(more).collect();
    App::with(Options {
        settings,
        ..Options::default()
    })
    .await
}

/// A token and the id of a role in each company.
async fn founders(app: &App) -> Vec<(String, String)> {
    let mut people = Vec::new();
    for company in COMPANIES {
        let founder = app.founder(company).await;
        let role = viewer(app, &founder).await;
        people.push((founder.token, role));
    }
    people
}

/// The role that invitations are for.
pub(crate) async fn viewer(app: &App, founder: &Founder) -> String {
    let mut connection = app.db.look_into(founder.tenant).await;
    let id: Uuid = sqlx::query_scalar("SELECT id FROM roles WHERE name = 'viewer'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    RoleId::from(id).to_string()
}

fn start(plan: &Plan, app: &App) -> JoinSet<Server> {
    let (api, env) = (plan.api.clone(), app.env.clone());
    let mut starting = JoinSet::new();
    starting.spawn(async move { Server::start(&api, &env).await });
    starting
}

/// Invites until the API is gone.
async fn write(base: &str, token: &str, role: &str, who: &str) -> Seen {
    let mut seen = Seen::default();
    for n in 0.. {
        let wanted = json!({ "email": format!("{who}n{n}@example.org"), "role_ids": [role] });
        match call(base, "/api/v1/invitations", token, Some(&wanted)).await {
            Ok(answer) if answer.status == 201 => seen.acknowledged.push(id(&answer.body)),
            Ok(answer) => {
                seen.refused.push(answer.status);
                break;
            }
            Err(Failure::CutOff(_)) => {
                seen.n_cut_off += 1;
                break;
            }
            Err(Failure::Refused) => break,
        }
    }
    seen
}

fn id(invitation: &Value) -> String {
    invitation["id"].as_str().unwrap().to_owned()
}

/// Rows without a job, jobs without a row, and answers without either.
async fn judge(app: &App, rounds: usize, seen: &Seen) -> Report {
    let mut report = Report::new(rounds, format!("{rounds} SIGKILLs of the API"));
    let mut admin = app.db.connect("postgres").await;
    let tenants: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM control.tenants")
        .fetch_all(&mut admin)
        .await
        .unwrap();
    let mut rows = HashSet::new();
    for tenant in tenants {
        let sql = format!(
            "SELECT 'inv_' || replace(id::text, '-', '') FROM {}.invitations",
            SchemaName::from(TenantId::from(tenant))
        );
        let ids: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut admin)
            .await
            .unwrap();
        rows.extend(ids);
    }
    let jobs: Vec<String> =
        sqlx::query_scalar("SELECT payload ->> 'invitation' FROM control.jobs WHERE kind = 'invitations.send'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    let n_jobs = jobs.len();
    let jobs: HashSet<String> = jobs.into_iter().collect();
    report.checked(format!("{} rows, each with its job", rows.len()));
    report.checked(format!("{} requests cut off", seen.n_cut_off));
    report.none(rows.difference(&jobs).count() as i64, "rows without a job");
    report.none(jobs.difference(&rows).count() as i64, "jobs without a row");
    report.none((n_jobs - jobs.len()) as i64, "rows with several jobs");
    let n_lost = seen.acknowledged.iter().filter(|id| !rows.contains(*id)).count();
    report.none(n_lost as i64, "acknowledged writes are gone");
    if !seen.refused.is_empty() {
        report.anomaly(format!("answers {:?}", seen.refused));
    }
    if seen.acknowledged.is_empty() || seen.n_cut_off == 0 {
        report.anomaly("the faults met no writes");
    }
    report
}
