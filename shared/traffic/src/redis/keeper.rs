//! Keeps the connection: makes it, looks whether it still answers, makes it anew.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    breaker::FAILURES,
    link::{Link, ping},
};

/// Between two looks at a connection that nobody complains about. So an outage costs no caller anything if the one after
/// it comes later than that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until it is aborted. `is_settled` becomes true once the first probe has ended, either way.
pub(super) async fn keep(link: Arc<Link>, is_settled: watch::Sender<bool>) {
    loop {
        link.probe().await;
        is_settled.send_replace(true);
        while link.connection().is_some() {
            let _ = tokio::time::timeout(LOOK_EVERY, link.failed.notified()).await;
            look(&link).await;
        }
        while !link.begin_probe() {
            match link.probe_at() {
                Some(probe_at) => tokio::time::sleep_until(probe_at.into()).await,
                None => break,
            }
        }
    }
}

/// Asks until there is an answer or the breaker has opened: one failed call says little, and the next caller should not
/// have to find out.
async fn look(link: &Link) {
    for _ in 0..FAILURES {
        let Some(mut connection) = link.connection() else {
            return;
        };
        let asked = connection.clone();
        if link.ask(&asked, ping(&mut connection.redis)).await.is_ok() {
            return;
        }
    }
}
