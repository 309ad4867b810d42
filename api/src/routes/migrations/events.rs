//! A migration as it happens.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    time::Duration,
};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use bulkhead_kernel::ids::{MigrationRunId, TenantId};
use bulkhead_tenancy::fleet::{MigratedTenant, RunStatus};
use futures_util::stream;
use tokio::time::{Instant, sleep};

use super::body::{MigrationBody, TenantBody};
use crate::state::AppState;

/// Between two looks at a run that somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long one stream lasts at the most; a client comes back and is told how things stand.
const LONGEST_STREAM: Duration = Duration::from_mins(5);

pub(super) fn stream(state: AppState, run: MigrationRunId) -> Response {
    let watch = Watch {
        state,
        run,
        last: String::new(),
        told: HashSet::new(),
        untold: VecDeque::new(),
        until: Instant::now() + LONGEST_STREAM,
        is_over: false,
    };
    let events = stream::unfold(watch, Watch::next);
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// Somebody's stream of events about a run.
struct Watch {
    state: AppState,
    run: MigrationRunId,
    last: String,
    /// A tenant that failed again after a retry is told again.
    told: HashSet<(TenantId, i16, &'static str)>,
    untold: VecDeque<Event>,
    until: Instant,
    is_over: bool,
}

impl Watch {
    /// The next event, as soon as there is one. A failure ends the stream; the client asks again and is told why.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.untold.pop_front() {
                return Some((Ok(event), self));
            }
            if self.is_over || Instant::now() > self.until || self.state.readiness().is_draining() {
                return None;
            }
            let (status, named) = super::look(&self.state, self.run).await.ok()?;
            self.note(status, named);
            if self.untold.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn note(&mut self, status: RunStatus, named: Vec<MigratedTenant>) {
        let state = status.state;
        if let Ok(progress) = serde_json::to_string(&MigrationBody::from(status))
            && progress != self.last
        {
            self.untold
                .push_back(Event::default().event("progress").data(&progress));
            self.last = progress;
        }
        for tenant in named {
            if self.told.insert((tenant.id, tenant.attempts, tenant.state.as_str())) {
                let event = Event::default().event("tenant").json_data(TenantBody::from(tenant));
                self.untold.extend(event);
            }
        }
        if state.is_finished() {
            self.untold
                .push_back(Event::default().event("state").data(state.as_str()));
            self.is_over = true;
        }
    }
}
