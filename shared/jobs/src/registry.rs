//! Which handler runs which kind.

use std::{collections::BTreeMap, future::Future};

use bulkhead_kernel::telemetry::{fields, metrics};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{IntoOutcome, Job, Outcome, Run};

type Handler = Box<dyn Fn(Run, Value) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The kinds a worker runs. Other kinds in the table are left for a worker that knows them.
#[derive(Default)]
pub struct Registry {
    handlers: BTreeMap<&'static str, Handler>,
    duplicate: Option<&'static str>,
}

/// Two handlers claim the same kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job kind {0} has two handlers")]
pub struct DuplicateKind(pub &'static str);

impl Registry {
    /// Knows no kind yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs jobs of the type `J` through `handler`. A second handler for the same kind is reported when the worker is
    /// made.
    #[must_use]
    pub fn handle<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(Run, J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let erased: Handler = Box::new(move |run, payload| match serde_json::from_value::<J>(payload) {
            Ok(job) if !job.may_belong_to(run.tenant) => {
                Box::pin(async { Outcome::Discard("it belongs to another tenant than its payload".into()) })
            }
            Ok(job) => {
                let running = handler(run, job);
                Box::pin(async move { running.await.into_outcome() })
            }
            Err(error) => Box::pin(async move { Outcome::Discard(format!("the payload cannot be read: {error}")) }),
        });
        if self.handlers.insert(J::KIND, erased).is_some() {
            self.duplicate = Some(J::KIND);
        }
        self
    }

    /// [`Registry::handle`] for a kind that nothing enqueues any more: what is left of it is still run, counted and told of.
    /// It stays for one release, or until the count stands still.
    #[must_use]
    pub fn retired<J, F, Fut>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(Run, J) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.handle(move |run: Run, job: J| {
            metrics::jobs_retired_runs(J::KIND).increment(1);
            tracing::warn!({ fields::JOB_KIND } = J::KIND, "a job of a retired kind is run");
            handler(run, job)
        })
    }

    /// All kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.handlers.keys().copied()
    }

    pub(crate) fn check(&self) -> Result<(), DuplicateKind> {
        self.duplicate.map_or(Ok(()), |kind| Err(DuplicateKind(kind)))
    }

    /// The name of the kind as the code spells it, and its handler.
    pub(crate) fn get(&self, kind: &str) -> Option<(&'static str, &Handler)> {
        self.handlers
            .get_key_value(kind)
            .map(|(kind, handler)| (*kind, handler))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Greet;

    impl Job for Greet {
        const KIND: &'static str = "test.greet";
    }

    #[derive(Serialize, Deserialize)]
    struct Part;

    impl Job for Part {
        const KIND: &'static str = "test.part";
    }

    #[derive(Serialize, Deserialize)]
    struct GreetAgain;

    impl Job for GreetAgain {
        const KIND: &'static str = "test.greet";
    }

    #[test]
    fn a_second_handler_for_a_kind_is_refused() {
        let registry = Registry::new()
            .handle::<Greet, _, _>(|_, _| async { Outcome::Done })
            .handle::<Part, _, _>(|_, _| async { Outcome::Done });
        assert_eq!(registry.check(), Ok(()));
        let registry = registry.handle::<GreetAgain, _, _>(|_, _| async { Outcome::Done });
        assert_eq!(registry.check(), Err(DuplicateKind("test.greet")));
    }

    #[test]
    fn only_registered_kinds_are_known() {
        let registry = Registry::new().handle::<Greet, _, _>(|_, _| async { Outcome::Done });
        assert_eq!(registry.kinds().collect::<Vec<_>>(), ["test.greet"]);
        assert!(registry.get("test.greet").is_some());
        assert!(registry.get("test.part").is_none());
    }
}
