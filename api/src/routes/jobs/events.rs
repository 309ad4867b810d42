//! A job as it happens.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use bulkhead_iam::Scope;
use bulkhead_kernel::ids::JobId;
use bulkhead_tasks::{EventBody, JobEvent, OwnJob, service};
use futures_util::stream;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::body::{ProgressBody, progress};
use crate::state::AppState;

/// Between two looks at a job that somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long one stream lasts at the most; a client comes back with `Last-Event-ID` and misses nothing.
const LONGEST_STREAM: Duration = Duration::from_mins(1);

pub(super) fn stream(state: AppState, scope: Scope, job: JobId, after: i32) -> Response {
    let watch = Watch {
        state,
        scope,
        job,
        last: after,
        progress: None,
        untold: VecDeque::new(),
        until: Instant::now() + LONGEST_STREAM,
        is_over: false,
    };
    let events = stream::unfold(watch, Watch::next);
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// Somebody's stream of events about a job.
struct Watch {
    state: AppState,
    scope: Scope,
    job: JobId,
    /// The number of the last event that was told.
    last: i32,
    progress: Option<ProgressBody>,
    untold: VecDeque<Event>,
    until: Instant,
    is_over: bool,
}

impl Watch {
    /// The next event, as soon as there is one. A failure ends the stream, as does losing the right to see it; the client
    /// asks again and is told why.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.untold.pop_front() {
                return Some((Ok(event), self));
            }
            if self.is_over || Instant::now() > self.until || self.state.readiness().is_draining() {
                return None;
            }
            let looked = service::watch(&self.scope, self.state.db(), self.job, self.last).await;
            let (job, events) = looked.ok()?;
            self.note(&job, events);
            if self.untold.is_empty() && !self.is_over {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn note(&mut self, job: &OwnJob, events: Vec<JobEvent>) {
        // The end is told by an event of its own, so that it is over when none is left to tell.
        self.is_over = events.is_empty() && job.state.has_ended();
        let now = progress(job);
        if now != self.progress {
            self.progress = now;
            self.untold.extend(Event::default().event("progress").json_data(now));
        }
        for event in events {
            self.last = event.seq;
            let at = event.at;
            let (name, data) = match event.body {
                EventBody::State(state, attempt) => {
                    ("state", json!({"state": state.as_str(), "attempt": attempt, "at": at}))
                }
                EventBody::Log { level, message } => ("log", json!({"level": level, "message": message, "at": at})),
            };
            let event = Event::default().id(event.seq.to_string()).event(name);
            self.untold.extend(event.json_data(data));
        }
    }
}
