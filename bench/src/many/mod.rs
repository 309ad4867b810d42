//! What thousands of tenants cost: memory, throughput and first queries, beside a pool without bounds.
//!
//! One tenant signs up through the API; the others are copies of it, made by SQL with the product's own functions for
//! shards, because two thousand sign-ups would take longer than everything else. Three API processes then take turns: one
//! for all tenants with its bounds, the same with affinity and retirement switched off, and one that only ever sees 200
//! tenants. Requests alternate between whoami and the list of machines; they touch seven of a tenant's twenty tables.

mod first;
mod fleet;
mod memory;
mod mix;
mod report;

use std::{fs, time::Duration};

use anyhow::Context;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Options,
    cells::Subject,
    cpu::{Watched, parent_of},
    http::{Connection, request},
    load::Load,
    machine,
    postgres::{Server, Session},
    report::progress,
    run::{DATABASE, prepare, record},
    sample::Sample,
    script::Recording,
    seed,
    stack::{Log, Process, Settings},
    tenants::{PASSWORD, Persona, sign_up, told},
};
use fleet::Fleet;
use mix::Mix;
use report::Report;

/// Connections to the database that each API has for tenants.
const POOL: usize = 32;

/// The mebibytes that all backends of these connections may take.
const LIMIT_MB: u64 = 512;

/// How many tenants an installation has that is compared with.
const FEW: usize = 200;

/// How much is measured.
struct Plan {
    rounds: u8,
    window: Duration,
    /// The longest that one API is warmed up.
    warm_up: Duration,
    /// Each kind of first query.
    firsts: usize,
}

/// Which API answers, and for which tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// The product with all tenants.
    Many,
    /// The same with no affinity and no retirement.
    Unbounded,
    /// The product with few tenants.
    Few,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Few, Self::Many, Self::Unbounded];

    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Many | Self::Few => &[],
            Self::Unbounded => &[
                ("DATABASE__AFFINITY", "false"),
                ("DATABASE__TENANTS_PER_CONNECTION", "1000000"),
                ("DATABASE__CONNECTION_MAX_AGE_SECS", "604800"),
            ],
        }
    }
}

/// One line of the table of throughput.
struct Cell {
    variant: Variant,
    mix: Mix,
    load: Load,
    watched: Watched,
    samples: Vec<Sample>,
}

/// Everything, and a failure if any request failed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let plan = Plan {
        rounds: if options.short { 1 } else { options.rounds },
        window: Duration::from_secs(if options.short { 1 } else { 3 }),
        warm_up: Duration::from_secs(if options.short { 1 } else { 120 }),
        firsts: if options.short { 10 } else { 300 },
    };
    let server = Server::of(&options.database_url)?;
    let mut session = Session::open(&server, options.database_url.username(), "postgres").await?;
    let pool = POOL.to_string();
    let limit = LIMIT_MB.to_string();
    let settings = prepare(options, &server).await?.with(&[
        ("DATABASE__TENANT_CONNECTIONS", &pool),
        ("DATABASE__MEMORY_LIMIT_MB", &limit),
        // On a busy machine requests wait; none should fail for it.
        ("DATABASE__ACQUIRE_TIMEOUT_MS", "30000"),
    ]);
    let (fleet, recording, token) = found(options, &settings, &server).await?;
    let backend: u32 = session.scalar("SELECT pg_backend_pid()").await?.parse()?;
    let postmaster = parent_of(backend).unwrap_or(0);

    let growth = memory::growth(&server, &fleet, &recording).await?;
    let firsts = first::measure(&server, &fleet, &recording, plan.firsts).await?;
    let mut processes = Vec::new();
    for variant in Variant::ALL {
        let own = settings.with(variant.settings());
        processes.push((variant, own.api(&format!("api-{variant:?}"), Log::Null, None).await?));
    }
    let mut cells = cells(&processes, &fleet, &token, postmaster);
    let mut memory = Vec::new();
    for (variant, process) in &processes {
        progress(&format!("warming up: {variant:?}"));
        warm_up(&cells, *variant, plan.warm_up).await?;
        memory.push((*variant, "warm", memory::of(&mut session, process).await?));
    }
    for round in 1..=plan.rounds {
        progress(&format!("round {round} of {}", plan.rounds));
        for cell in &mut cells {
            let sample = cell.load.run(plan.window, cell.watched).await?;
            cell.samples.push(sample);
        }
    }
    for (variant, process) in &processes {
        memory.push((*variant, "after all rounds", memory::of(&mut session, process).await?));
    }
    let report = Report {
        machine: machine::line(&mut session).await?,
        tenants: fleet.tenants.len(),
        tables: fleet::TABLES,
        shards: fleet.shards,
        growth,
        memory,
        cells,
        firsts,
        is_asserted: !options.short,
    };
    let text = report.text();
    fs::write(options.work_dir.join("tenants.md"), &text)?;
    crate::report::print(&text)?;
    report.check()
}

/// The tenants, what the list says to PostgreSQL, and a token of somebody who is a member of all.
async fn found(options: &Options, settings: &Settings, server: &Server) -> anyhow::Result<(Fleet, Recording, String)> {
    let worker = settings.worker().await?;
    let api = settings.api("api", Log::File, None).await?;
    let signed_up = sign_up(api.address, 1, 1).await?;
    let persona = signed_up.personas.first().context("nobody signed up")?;
    worker.end().await?;
    let mut session = Session::open(server, options.database_url.username(), DATABASE).await?;
    seed::machines(&mut session, &signed_up.personas).await?;
    progress(&format!("copying {} tenants", options.tenants));
    let fleet = Fleet::make(server, options.database_url.username(), persona, options.tenants).await?;
    let recordings = record(settings, server, persona).await?;
    let list = recordings.into_iter().find(|(subject, _)| *subject == Subject::List);
    let token = unbound_token(&api).await?;
    api.end().await?;
    Ok((fleet, list.context("no recording of the list")?.1, token))
}

async fn unbound_token(api: &Process) -> anyhow::Result<String> {
    let credentials = json!({"email": "founder-0@bench.example", "password": PASSWORD}).to_string();
    let bytes = request("POST", "/api/v1/auth/login", None, &[], &credentials);
    let answer = Connection::open(api.address).await?.call(&bytes).await?;
    let token = answer.body["access_token"].as_str().map(str::to_owned);
    token.with_context(|| format!("signing in: {}", told(&answer)))
}

fn cells(processes: &[(Variant, Process)], fleet: &Fleet, token: &str, postmaster: u32) -> Vec<Cell> {
    let mut cells = Vec::new();
    for mix in [Mix::Uniform, Mix::Zipf, Mix::Hot] {
        for (variant, process) in processes {
            let tenants = match variant {
                Variant::Few => &fleet.tenants[..FEW.min(fleet.tenants.len() / 2)],
                _ => &fleet.tenants[..],
            };
            let slugs: Vec<&str> = tenants.iter().map(|tenant| tenant.slug.as_str()).collect();
            cells.push(Cell {
                variant: *variant,
                mix,
                load: Load {
                    address: process.address,
                    requests: mix.requests(&slugs, token).into(),
                },
                watched: Watched {
                    server: Some(process.pid()),
                    postmaster,
                },
                samples: Vec::new(),
            });
        }
    }
    cells
}

/// Until each tenant has had a few requests on each connection that may serve it: on one, or with no bounds on all.
async fn warm_up(cells: &[Cell], variant: Variant, longest: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    let Some(cell) = cells.iter().find(|cell| cell.variant == variant) else {
        return Ok(());
    };
    let places = if variant == Variant::Unbounded { POOL } else { 2 };
    let goal = u32::try_from(cell.load.requests.len() * places).map_or(f64::INFINITY, f64::from);
    let window = Duration::from_secs(1);
    let mut requests = 0.0;
    while requests < goal && started.elapsed() < longest {
        requests += cell.load.run(window, cell.watched).await?.rate;
    }
    if requests < goal && variant == Variant::Unbounded {
        progress("too slow a machine to warm up: its memory will look smaller than it gets");
    }
    Ok(())
}

/// A copy of the first tenant, reached over the login of its shard.
pub(crate) struct Tenant {
    pub(crate) slug: String,
    pub(crate) login: String,
    pub(crate) persona: Persona,
}
