//! From the enqueue to the start.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use crate::{bar, percentile, print, product::Product};

/// One job after the other, when nothing else is to be done.
pub(crate) async fn idle(product: &Product<'_>, n_jobs: usize) -> anyhow::Result<()> {
    let running = ready(product).await?;
    let mut waits = Vec::new();
    for n in 1..=n_jobs {
        // The worker has long gone back to sleep.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let asked = Instant::now();
        product.enqueue(n).await?;
        while product.n_started.load(SeqCst) <= n {
            product.one_started.notified().await;
        }
        let started = product.started.lock().expect("nobody panics").last().map(|(_, at)| *at);
        waits.extend(started.map(|at| (at - asked).as_secs_f64() * 1_000.0));
    }
    running.end().await?;
    let (p50, p99) = (percentile(waits.clone(), 50), percentile(waits, 99));
    bar(
        &format!(
            "enqueue to start, idle, the enqueuing transaction included: p50 {p50:.2} ms, p99 {p99:.2} ms of {n_jobs} (bar: p50 under 15 ms)"
        ),
        p50 < 15.0,
    )
}

/// At a steady rate, whatever the answers.
pub(crate) async fn half_load(product: &Product<'_>, rate: f64, length: Duration) -> anyhow::Result<()> {
    let running = ready(product).await?;
    let n_jobs = (rate * length.as_secs_f64()) as usize;
    let mut asked = vec![Instant::now(); n_jobs + 1];
    let began = Instant::now();
    let mut enqueues = Vec::new();
    let width = 4;
    for lane in 0..width {
        enqueues.push(async move {
            let mut asked = Vec::new();
            for n in (1..=n_jobs).filter(|n| n % width == lane) {
                let due = began + Duration::from_secs_f64(n as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                asked.push((n, Instant::now()));
                product.enqueue(n).await?;
            }
            anyhow::Ok(asked)
        });
    }
    for lane in futures_util::future::try_join_all(enqueues).await? {
        for (n, at) in lane {
            asked[n] = at;
        }
    }
    let enqueued_in = began.elapsed();
    while product.n_started.load(SeqCst) <= n_jobs {
        product.one_started.notified().await;
    }
    running.end().await?;
    let started = product.started.lock().expect("nobody panics").clone();
    let waits = started
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, at)| (*at - asked[*n]).as_secs_f64() * 1_000.0);
    let waits: Vec<f64> = waits.collect();
    print(&format!(
        "- enqueue to start, {:.0} jobs a second (half of what was reached above): p50 {:.2} ms, p99 {:.2} ms of {n_jobs}",
        n_jobs as f64 / enqueued_in.as_secs_f64(),
        percentile(waits.clone(), 50),
        percentile(waits, 99),
    ))
}

/// A worker that has run a job, so that all its connections stand.
async fn ready(product: &Product<'_>) -> anyhow::Result<crate::product::Running> {
    product.server.run("TRUNCATE control.jobs CASCADE").await?;
    product.n_started.store(0, SeqCst);
    product.started.lock().expect("nobody panics").clear();
    let running = product.start()?;
    product.enqueue(0).await?;
    while product.n_started.load(SeqCst) < 1 {
        product.one_started.notified().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(running)
}
