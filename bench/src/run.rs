//! One run, from an empty server to the table.

use std::{fs, time::Duration};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::{
    Options,
    cells::{Cell, Part, Subject},
    cpu::parent_of,
    http::{Connection, get},
    load::CONNECTIONS,
    machine,
    pgbench::Pgbench,
    postgres::{Server, Session},
    recorder::Recorder,
    report::{self, Report},
    script::Recording,
    seed,
    stack::{Log, Process, Settings},
    tenants::{Persona, SignedUp, sign_up, told},
};

pub(crate) const DATABASE: &str = "bulkhead_bench";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    /// How long a floor runs before it is counted, and each path of the server before the first round. With many
    /// tenants it takes longer until every connection has seen every tenant.
    pub(crate) warm_up: Duration,
    /// How many tenants are created one after the other.
    pub(crate) sequential: usize,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let seconds = Duration::from_secs;
        if options.short {
            Self {
                rounds: 1,
                window: seconds(1),
                warm_up: seconds(1),
                sequential: 5,
            }
        } else {
            Self {
                rounds: options.rounds.into(),
                window: seconds(3),
                warm_up: seconds((options.tenants as u64 / 50).clamp(3, 20)),
                sequential: 50,
            }
        }
    }
}

/// Everything, and a failure if any request failed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let plan = Plan::of(options);
    let started = Instant::now();
    let server = Server::of(&options.database_url)?;
    let settings = prepare(options, &server).await?;
    let mut session = Session::open(&server, options.database_url.username(), DATABASE).await?;
    let _worker = settings.worker().await?;
    let signed_up = people(options, &settings, &mut session, plan).await?;
    let personas = &signed_up.personas;
    let recordings = record(&settings, &server, personas.first().context("no tenants")?).await?;

    let api = settings.api("api-measured", Log::Null, None).await?;
    let hello = settings.hello().await?;
    let backend: u32 = session.scalar("SELECT pg_backend_pid()").await?.parse()?;
    let postmaster = parent_of(backend).unwrap_or(0);
    let mut cells = vec![Cell::http(Subject::Health, Part::Hello, &hello, &[], postmaster)];
    for subject in [Subject::Health, Subject::Whoami, Subject::List] {
        cells.push(Cell::http(subject, Part::Product, &api, personas, postmaster));
    }
    let pool = warm_up(&cells, plan, &mut session).await?;
    cells.extend(floors(options, &server, &recordings, personas, (pool, postmaster))?);
    in_turn(&mut cells, plan).await?;
    let report = Report {
        machine: machine::line(&mut session).await?,
        plan,
        tenants: options.tenants,
        creation_us: signed_up.creation_us,
        recordings,
        cells,
        took: started.elapsed(),
        is_asserted: !options.short,
    };
    report.print()?;
    if report.errors() > 0 {
        bail!("{} requests failed", report.errors());
    }
    Ok(())
}

/// An empty database with the control schema, and keys.
pub(crate) async fn prepare(options: &Options, server: &Server) -> anyhow::Result<Settings> {
    fs::create_dir_all(&options.work_dir)?;
    let mut session = Session::open(server, options.database_url.username(), "postgres").await?;
    session.query(&format!("CREATE DATABASE {DATABASE}")).await?;
    let settings = Settings::new(options, server, DATABASE)?;
    settings.api_command(&["generate-keys"]).await?;
    settings.api_command(&["migrate"]).await?;
    Ok(settings)
}

/// Tenants with their machines, and whether the API shows them.
async fn people(options: &Options, settings: &Settings, session: &mut Session, plan: Plan) -> anyhow::Result<SignedUp> {
    let api = settings.api("api", Log::File, None).await?;
    report::progress(&format!("signing up {} tenants", options.tenants));
    let signed_up = sign_up(api.address, options.tenants, plan.sequential).await?;
    report::progress(&format!("writing {} machines for each", seed::VMS));
    seed::machines(session, &signed_up.personas).await?;
    for persona in &signed_up.personas {
        check(&api, persona).await?;
    }
    api.end().await?;
    Ok(signed_up)
}

/// Gives how many connections the API has opened to enter tenants: as many get the floors.
async fn warm_up(cells: &[Cell], plan: Plan, session: &mut Session) -> anyhow::Result<usize> {
    report::progress("warming up");
    let before = tenant_sessions(session).await?;
    for cell in cells {
        cell.warm_up(plan.warm_up).await?;
    }
    Ok(tenant_sessions(session).await?.saturating_sub(before))
}

/// None without pgbench.
fn floors(
    options: &Options,
    server: &Server,
    recordings: &[(Subject, Recording)],
    personas: &[Persona],
    (pool, postmaster): (usize, u32),
) -> anyhow::Result<Vec<Cell>> {
    let Some(program) = &options.pgbench else {
        return Ok(Vec::new());
    };
    let pgbench = Pgbench {
        program: program.clone(),
        server: server.clone(),
        database: DATABASE.to_owned(),
        folder: options.work_dir.join("pgbench"),
    };
    let mut cells = Vec::new();
    for (subject, recording) in recordings {
        for (part, connections) in [
            (Part::Naive, pool),
            (Part::NaiveCrowded, CONNECTIONS),
            (Part::OneMessage, pool),
        ] {
            let over = (connections, postmaster);
            cells.push(Cell::floor(*subject, part, &pgbench, recording, personas, over)?);
        }
    }
    Ok(cells)
}

/// A cell that belongs beside another comes right after it in every round.
async fn in_turn(cells: &mut [Cell], plan: Plan) -> anyhow::Result<()> {
    cells.sort_by_key(|cell| cell.subject as u8);
    for round in 1..=plan.rounds {
        report::progress(&format!("round {round} of {}", plan.rounds));
        for cell in &mut *cells {
            cell.measure(plan.warm_up, plan.window).await?;
        }
    }
    Ok(())
}

/// Fast wrong answers would be no measurement.
async fn check(api: &Process, persona: &Persona) -> anyhow::Result<()> {
    let mut connection = Connection::open(api.address).await?;
    let list = connection
        .call(&get(Subject::List.path(), Some(&persona.token)))
        .await?;
    let items = list.body["items"].as_array().map_or(0, Vec::len);
    if list.status != 200
        || items != 20
        || list.body["total"] != seed::VMS
        || list.body["items"][0]["status"] != "RUNNING"
    {
        bail!("the list is not what was written: {}", told(&list));
    }
    let whoami = connection
        .call(&get(Subject::Whoami.path(), Some(&persona.token)))
        .await?;
    let tenant = persona.tenant.replace('-', "");
    if whoami.status != 200 || !whoami.body.to_string().contains(&tenant) {
        bail!("whoami is not in the tenant: {}", told(&whoami));
    }
    Ok(())
}

/// What the product says to PostgreSQL for a request when it has just answered the same one, which is how things are
/// under load.
pub(crate) async fn record(
    settings: &Settings,
    server: &Server,
    persona: &Persona,
) -> anyhow::Result<Vec<(Subject, Recording)>> {
    let recorder = Recorder::before(server).await?;
    let api = settings
        // The floors have no statement ready: what is said is recorded in full.
        .with(&[("DATABASE__KEPT_PLANS", "0")])
        .api("api-recorded", Log::File, Some((&recorder.server(), DATABASE)))
        .await?;
    let mut connection = Connection::open(api.address).await?;
    let mut recordings = Vec::new();
    for subject in [Subject::Whoami, Subject::List] {
        let request = get(subject.path(), Some(&persona.token));
        connection.status_of(&request).await?;
        // What the first one left behind, such as a reset after a commit, belongs to no request.
        sleep(Duration::from_millis(100)).await;
        recorder.take();
        connection.status_of(&request).await?;
        let recording = Recording::of(&recorder.take(), persona).with_context(|| subject.path())?;
        recordings.push((subject, recording));
    }
    api.end().await?;
    Ok(recordings)
}

async fn tenant_sessions(session: &mut Session) -> anyhow::Result<usize> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'bulkhead_tenant%'";
    Ok(session.scalar(sql).await?.parse()?)
}
