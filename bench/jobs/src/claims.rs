//! What a claim costs, by how much waits and for how many.

use std::{fs, sync::atomic::Ordering::SeqCst, time::Instant};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{bar, database::Server, median, percentile, print, product::Product};

/// Claims that are timed in each cell.
const TIMES: usize = 300;

/// Jobs of so many tenants, evenly.
async fn fill(server: &Server, n_jobs: i64, n_tenants: i64) -> anyhow::Result<()> {
    let rows = format!(
        "TRUNCATE control.jobs CASCADE; DELETE FROM control.tenants; UPDATE control.plans SET job_concurrency = 1000; \
         INSERT INTO control.tenants (id, slug, name, status) \
         SELECT gen_random_uuid(), 'tenant-' || n, 'T', 'active' FROM generate_series(1, {n_tenants}) AS n; \
         INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id) \
         SELECT gen_random_uuid(), 'bench.noop', 'default', t.ids[1 + n % {n_tenants}], jsonb_build_object('n', n), 8, 'bench', 'bench' \
         FROM (SELECT array_agg(id) AS ids FROM control.tenants) AS t, generate_series(1, {n_jobs}) AS n; \
         VACUUM ANALYZE control.jobs; ANALYZE control.tenants; CHECKPOINT"
    );
    server.run(&rows).await
}

/// Times single claims, which are rolled back, for one place and for eight.
pub(crate) async fn run(server: &Server, jobs: [i64; 2], tenants: [i64; 2]) -> anyhow::Result<()> {
    let mut slowest = [f64::MAX, 0.0];
    for n_jobs in jobs {
        for n_tenants in tenants {
            fill(server, n_jobs, n_tenants).await?;
            let mut cells = Vec::new();
            for limit in [1, 8] {
                let mut connection = PgConnection::connect(&server.url("bulkhead_control")).await?;
                let (mut lane, mut times) = (Uuid::nil(), Vec::new());
                for n in 0..TIMES + 20 {
                    let mut tx = connection.begin().await?;
                    let began = Instant::now();
                    let claimed: Vec<(Uuid,)> = sqlx::query_as(
                        "SELECT tenant_id FROM control.claim_jobs('{bench.noop}', 'bench', 15000, $1, 0, $2)",
                    )
                    .bind(lane)
                    .bind(limit)
                    .fetch_all(&mut *tx)
                    .await?;
                    let took = began.elapsed().as_secs_f64() * 1_000.0;
                    tx.rollback().await?;
                    lane = claimed.last().map_or(lane, |(tenant,)| *tenant);
                    if n >= 20 {
                        times.push(took);
                    }
                }
                let p50 = median(times.iter().copied());
                cells.push(format!("{p50:.2} | {:.2}", percentile(times, 99)));
                if limit == 1 {
                    slowest = [slowest[0].min(p50), slowest[1].max(p50)];
                }
            }
            print(&format!("| {n_jobs} | {n_tenants} | {} |", cells.join(" | ")))?;
        }
    }
    bar(
        &format!(
            "one claim of one job takes {:.2} to {:.2} ms (bar: flat, less than twice)",
            slowest[0], slowest[1]
        ),
        slowest[1] < 2.0 * slowest[0],
    )
}

/// Lets the worker run for a while with a backlog, and looks at what that takes.
pub(crate) async fn under_backlog(server: &Server, n_jobs: i64, n_tenants: i64, n_run: usize) -> anyhow::Result<()> {
    let product = Product::new(server, 8).await?;
    let before = resident_mib()?;
    let began = Instant::now();
    let running = product.start()?;
    while product.n_started.load(SeqCst) < n_run {
        product.one_started.notified().await;
    }
    let rate = n_run as f64 / began.elapsed().as_secs_f64();
    let during = resident_mib()?;
    running.end().await?;
    let table = server
        .number("SELECT pg_total_relation_size('control.jobs') / 1048576")
        .await?;
    print(&format!(
        "- with {n_jobs} queued for {n_tenants} tenants: {rate:.0} jobs a second with 8 places; the process went from {before} to {during} MiB, \
         the table has {table} MiB with its indexes"
    ))
}

fn resident_mib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
}
