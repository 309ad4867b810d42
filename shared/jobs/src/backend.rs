//! Our table as an apalis backend. apalis asks it for a task only when a place is free, and it claims only then.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, task_id::RandomId},
    worker::context::WorkerContext,
};
use tokio::sync::{mpsc, oneshot};
use tower::layer::util::Identity;

use crate::fetch::Demand;

/// Turns the worker's polling into demands. `J` is what a demand is answered with.
pub(crate) struct JobBackend<J> {
    demands: mpsc::Sender<oneshot::Sender<J>>,
    awaited: Option<oneshot::Receiver<J>>,
    /// Takes back a job that arrived when the worker was no longer there to run it.
    give_back: Box<dyn FnMut(J) + Send>,
}

/// The other end of the demands is gone; the worker has to be built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody claims jobs any more")]
pub(crate) struct Deserted;

impl<J> JobBackend<J> {
    pub(crate) fn new(demands: mpsc::Sender<oneshot::Sender<J>>, give_back: impl FnMut(J) + Send + 'static) -> Self {
        Self {
            demands,
            awaited: None,
            give_back: Box::new(give_back),
        }
    }

    /// Asks for a job unless one was asked for already.
    fn ask(&mut self) -> Result<&mut oneshot::Receiver<J>, Deserted> {
        if self.awaited.is_none() {
            let (demand, awaited) = oneshot::channel();
            self.demands.try_send(demand).map_err(|_| Deserted)?;
            self.awaited = Some(awaited);
        }
        self.awaited.as_mut().ok_or(Deserted)
    }

    /// Takes the open demand back, and with it a job that was just sent.
    fn withdraw(&mut self) {
        if let Some(mut awaited) = self.awaited.take() {
            awaited.close();
            if let Ok(unwanted) = awaited.try_recv() {
                (self.give_back)(unwanted);
            }
        }
    }
}

impl<J> Backend for JobBackend<J> {
    type Task = Task<J>;
    type Error = Deserted;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Deserted>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<J>, Deserted>>> {
        let answer = match self.ask() {
            Ok(awaited) => std::task::ready!(Pin::new(awaited).poll(cx)),
            Err(deserted) => return Poll::Ready(Some(Err(deserted))),
        };
        self.awaited = None;
        Poll::Ready(Some(answer.map(Task::new).map_err(|_| Deserted)))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Deserted>> {
        self.withdraw();
        Poll::Ready(Ok(()))
    }
}

impl<J> Drop for JobBackend<J> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<J> BackendConfig for JobBackend<J> {
    type Args = J;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// The channel between a worker loop and the task that claims for it. One demand is open at a time.
pub(crate) fn demands() -> (mpsc::Sender<Demand>, mpsc::Receiver<Demand>) {
    mpsc::channel(1)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use apalis::layers::WorkerBuilderExt;
    use apalis_core::worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeLayer};
    use futures_util::FutureExt;
    use tokio::{sync::Semaphore, task::JoinHandle, task::yield_now};

    use super::*;

    type Demands = mpsc::Receiver<oneshot::Sender<u32>>;

    struct Stage {
        demands: Demands,
        done: Arc<Semaphore>,
        given_back: Arc<Mutex<Vec<u32>>>,
        worker: JoinHandle<()>,
    }

    /// An apalis worker with two places whose jobs end when `done` lets them.
    fn stage() -> Stage {
        let (demand, demands) = mpsc::channel(1);
        let (done, given_back) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (ending, returned) = (done.clone(), given_back.clone());
        let worker = WorkerBuilder::new("test")
            .backend(JobBackend::new(demand, move |job: u32| {
                returned.lock().unwrap().push(job);
            }))
            .concurrency(2)
            .layer(ParallelizeLayer::new(tokio::spawn))
            .build(move |job: u32| {
                let ending = ending.clone();
                async move {
                    ending.acquire().await.unwrap().forget();
                    assert_ne!(job, 13, "on purpose");
                    Ok::<_, Infallible>(())
                }
            });
        Stage {
            demands,
            done,
            given_back,
            worker: tokio::spawn(worker.run().map(drop)),
        }
    }

    async fn settle() {
        for _ in 0..100 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_job_is_asked_for_only_when_a_place_is_free() {
        let mut stage = stage();
        for job in [1, 2] {
            stage.demands.recv().await.unwrap().send(job).unwrap();
        }
        settle().await;
        assert!(stage.demands.try_recv().is_err(), "both places are taken");
        stage.done.add_permits(1);
        stage.demands.recv().await.unwrap().send(3).unwrap();
        settle().await;
        assert!(stage.demands.try_recv().is_err(), "both places are taken again");
        stage.worker.abort();
    }

    #[tokio::test]
    async fn a_broken_job_frees_its_place() {
        let mut stage = stage();
        stage.done.add_permits(10);
        for job in [13, 13, 13, 1] {
            stage.demands.recv().await.unwrap().send(job).unwrap();
        }
        assert!(stage.demands.recv().await.is_some());
        stage.worker.abort();
    }

    #[tokio::test]
    async fn a_job_that_comes_too_late_is_given_back() {
        let mut stage = stage();
        let demand = stage.demands.recv().await.unwrap();
        stage.worker.abort();
        // The worker has not run since, so it has the job in its hands when it is dropped.
        demand.send(7).unwrap();
        assert!(stage.worker.await.unwrap_err().is_cancelled());
        assert_eq!(*stage.given_back.lock().unwrap(), [7]);
    }

    #[tokio::test]
    async fn the_worker_ends_when_nobody_claims_for_it() {
        let stage = stage();
        drop(stage.demands);
        stage.worker.await.unwrap();
    }
}
