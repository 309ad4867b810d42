//! How long the verification of a long audit log takes. The rows are written into the tenant's log as its role writes
//! them; the product's own worker seals them into the chain and signs a checkpoint, and the product's own command verifies.
//! Then one row in the middle is changed, and the command has to name it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    Options, machine,
    postgres::{Server, Session},
    report::{print, progress},
    run::{DATABASE, prepare},
    stack::{Log, Settings},
    tenants::sign_up,
};

/// Rows in a full run and in a short one.
const ROWS: [u32; 2] = [1_000_000, 20_000];

/// Rows written before they are sealed.
const AT_A_TIME: u32 = 50_000;

/// How many times it is verified; the slowest counts.
const TIMES: usize = 3;

/// A full run must take less.
const BAR: Duration = Duration::from_secs(30);

/// How long sealing may take.
const PATIENCE: Duration = Duration::from_mins(20);

/// Runs it and prints the rows and the seconds.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let n_rows = ROWS[usize::from(options.short)];
    let server = Server::of(&options.database_url)?;
    let settings = prepare(options, &server)
        .await?
        .with(&[("AUDIT__CHECKPOINT_MS", "1000"), ("AUDIT__SEAL_MS", "500")]);
    let mut session = Session::open(&server, options.database_url.username(), DATABASE).await?;
    let worker = settings.worker().await?;
    let api = settings.api("api", Log::File, None).await?;
    let persona = sign_up(api.address, 1, 1).await?.personas.pop().context("nobody")?;
    api.end().await?;
    let tenant = persona.tenant;
    let schema = format!("t_{}", tenant.replace('-', ""));
    progress(&format!("writing and sealing {n_rows} rows"));
    let began = Instant::now();
    for first in (1..=n_rows).step_by(AT_A_TIME as usize) {
        let last = n_rows.min(first + AT_A_TIME - 1);
        write(&mut session, &schema, &tenant, (first, last)).await?;
        until_sealed(&mut session, &schema, &tenant).await?;
    }
    progress(&format!("sealed and attested in {} s", began.elapsed().as_secs()));
    worker.end().await?;
    session
        .query(&format!("VACUUM (ANALYZE) {schema}.audit_events"))
        .await?;
    session.query("CHECKPOINT").await?;
    print(&machine::line(&mut session).await?)?;
    let mut slowest = Duration::ZERO;
    for _ in 0..TIMES {
        let began = Instant::now();
        let found = verify(&settings, &tenant).await?;
        slowest = slowest.max(began.elapsed());
        print(&format!(
            "{:.2} s, process included: {}",
            began.elapsed().as_secs_f64(),
            found.trim()
        ))?;
        ensure!(looked_at(&found)? >= n_rows, "too few rows were looked at");
    }
    let verdict = if slowest < BAR { "met" } else { "MISSED" };
    print(&format!(
        "{n_rows} rows: {:.2} s at most (bar: under {} s): {verdict}",
        slowest.as_secs_f64(),
        BAR.as_secs()
    ))?;
    tamper(&mut session, &schema, n_rows / 2).await?;
    let refused = verify(&settings, &tenant)
        .await
        .err()
        .context("a changed row was not seen")?;
    ensure!(
        format!("{refused:#}").contains(&format!("Row {}", n_rows / 2)),
        "another row was named: {refused:#}"
    );
    print("one changed row in the middle: named")?;
    if slowest >= BAR && !options.short {
        bail!("verification is too slow");
    }
    Ok(())
}

/// Rows like those of a change by a member, and the word that they wait to be sealed.
async fn write(session: &mut Session, schema: &str, tenant: &str, (first, last): (u32, u32)) -> anyhow::Result<()> {
    let sql = format!(
        r"BEGIN;
        INSERT INTO {schema}.audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes,
                                           request_id, address, agent)
        SELECT gen_random_uuid(), now() - n * interval '1 second', 'resource.update', 'done', 'member',
               'usr_' || md5((n % 50)::text), jsonb_build_array(jsonb_build_object('kind', 'resource', 'id', 'res_' || md5(n::text))),
               jsonb_build_object('name', jsonb_build_object('before', 'disk-' || n, 'after', 'disk-' || n + 1)),
               md5(n::text), '192.0.2.' || n % 250, 'Mozilla/5.0 (X11; Linux x86_64)'
        FROM generate_series({first}, {last}) AS n;
        INSERT INTO control.audit_outbox (id, tenant_id) VALUES (gen_random_uuid(), '{tenant}');
        COMMIT"
    );
    session.query(&sql).await?;
    Ok(())
}

async fn until_sealed(session: &mut Session, schema: &str, tenant: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let done = format!(
        "SELECT (h.checkpoint_seq = h.seq AND NOT EXISTS (SELECT FROM {schema}.audit_events WHERE seq IS NULL))::text \
         FROM control.audit_heads AS h WHERE h.tenant_id = '{tenant}' UNION ALL SELECT 'false' LIMIT 1"
    );
    while session.scalar(&done).await? != "true" {
        if began.elapsed() > PATIENCE {
            bail!("the rows were not sealed within {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn verify(settings: &Settings, tenant: &str) -> anyhow::Result<String> {
    let tenant = format!("org_{}", tenant.replace('-', ""));
    settings.api_command(&["audit", "verify", &tenant]).await
}

/// The number in "Looked at N rows".
fn looked_at(found: &str) -> anyhow::Result<u32> {
    let number = found.strip_prefix("Looked at ").and_then(|rest| rest.split(' ').next());
    Ok(number.context("the command says something else")?.parse()?)
}

/// As somebody who may do anything in the database.
async fn tamper(session: &mut Session, schema: &str, seq: u32) -> anyhow::Result<()> {
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; \
         UPDATE {schema}.audit_events SET actor_id = 'usr_0' WHERE seq = {seq}; COMMIT"
    );
    session.query(&sql).await?;
    Ok(())
}
