//! What a job costs, measured beside what it cannot be cheaper than (docs/performance.md). Run it with `make bench-jobs`.
//!
//! Three run the same no-op jobs, each over as many connections as it has places, in turns: the product's worker, a bare
//! loop (`BEGIN`, lock a row with `FOR UPDATE SKIP LOCKED`, mark it done, `COMMIT`) over a narrow table with one index, and
//! an apalis worker over stock apalis-postgres. Jobs are in the table before the clock starts, and it
//! stops when the table says that all are done.

mod bare;
mod claims;
mod database;
mod latency;
mod product;
mod stock;

use std::{env, io::Write, time::Duration};

use anyhow::Context;

use crate::{database::Server, product::Product};

/// Jobs of one round with one place and with eight, in a full run and in a short one.
const JOBS: [[usize; 2]; 2] = [[2_000, 6_000], [100, 300]];

/// Rounds in a full run and in a short one.
const ROUNDS: [usize; 2] = [3, 1];

/// Jobs that wait beside those that are measured.
const BACKLOG: [i64; 2] = [1_000_000, 5_000];

/// Tenants of the large claims.
const TENANTS: [i64; 2] = [2_000, 50];

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let url = env::args()
        .nth(1)
        .context("the URL of a PostgreSQL server is missing")?;
    let short = usize::from(env::args().nth(2).as_deref() == Some("--short"));
    let server = Server::new(&url).await?;
    print(&server.line().await?)?;
    let rate = rates(&server, short).await?;
    let product = Product::new(&server, 8).await?;
    latency::idle(&product, [300, 20][short]).await?;
    latency::half_load(&product, rate / 2.0, Duration::from_secs([15, 1][short])).await?;
    claims::run(&server, [1_000, BACKLOG[short]], [1, TENANTS[short]]).await?;
    claims::under_backlog(&server, BACKLOG[short], TENANTS[short], JOBS[short][1]).await
}

/// The three in turns; gives how many jobs the product does in a second with eight places.
async fn rates(server: &Server, short: usize) -> anyhow::Result<f64> {
    let mut rate = 0.0;
    for (places, n_jobs) in [1, 8].into_iter().zip(JOBS[short]) {
        let product = Product::new(server, places).await?;
        let stock = stock::Stock::new(server, places).await?;
        let bare = bare::Bare::new(server, places).await?;
        let mut rounds = [vec![], vec![], vec![]];
        for _ in 0..ROUNDS[short] {
            rounds[0].push(bare.rate(n_jobs).await?);
            rounds[1].push(product.rate(n_jobs).await?);
            rounds[2].push(stock.rate(n_jobs).await?);
        }
        let ratios = |of: usize, by: usize| median(rounds[of].iter().zip(&rounds[by]).map(|(a, b)| a / b));
        let [bare, own, stock] = [0, 1, 2].map(|n| median(rounds[n].iter().copied()));
        let spread = |n: usize| {
            let least = rounds[n].iter().copied().fold(f64::MAX, f64::min);
            let most = rounds[n].iter().copied().fold(0.0, f64::max);
            format!("{least:.0}-{most:.0}")
        };
        print(&format!(
            "| {places} | bare loop | {bare:.0} | {} | 1.00 | |",
            spread(0)
        ))?;
        print(&format!(
            "| {places} | **the product** | {own:.0} | {} | {:.2} | {:.2} |",
            spread(1),
            ratios(1, 0),
            ratios(1, 2)
        ))?;
        print(&format!(
            "| {places} | stock apalis-postgres | {stock:.0} | {} | {:.2} | 1.00 |",
            spread(2),
            ratios(2, 0)
        ))?;
        bar(
            &format!("{places} places: {:.2} of the bare loop (bar 0.5)", ratios(1, 0)),
            ratios(1, 0) >= 0.5,
        )?;
        bar(
            &format!("{places} places: {:.2} of stock (bar 1.0)", ratios(1, 2)),
            ratios(1, 2) >= 1.0,
        )?;
        rate = own;
    }
    Ok(rate)
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50)
}

/// NaN of nothing.
fn percentile(values: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) * percent / 100)
        .copied()
        .unwrap_or(f64::NAN)
}

fn bar(what: &str, is_met: bool) -> anyhow::Result<()> {
    print(&format!("- {what}: {}", if is_met { "met" } else { "MISSED" }))
}

fn print(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
