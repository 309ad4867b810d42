//! The calls to providers. Nothing here touches the database, and no transaction is open meanwhile.

use std::time::Duration;

use super::model::{Answer, Outcome, Request, Step};
use crate::driver::{Class, DriverError, Found, Power, PowerTarget, Progress, Resource, TaskState};

/// How soon to ask again for a power change that somebody else began.
const CHANGING_POLL: Duration = Duration::from_millis(500);

/// Makes the call. One that takes longer than `allowed` counts as an error whose effect may have happened.
pub(super) async fn perform(request: Request, allowed: Duration) -> Outcome {
    let answer = match tokio::time::timeout(allowed, ask(&request)).await {
        Ok(answer) => answer,
        Err(_) => Err(DriverError::new(Class::Transient, "timed_out").ambiguous()),
    };
    Outcome { request, answer }
}

async fn ask(request: &Request) -> Result<Answer, DriverError> {
    let Request { driver, fence, .. } = request;
    if let Some(task) = &request.task {
        return poll(request, task).await;
    }
    let reference = request.reference.as_deref();
    match request.step {
        Step::Plan => Ok(Answer::Planned(driver.plan(present(request.spec.as_ref())?).await?)),
        Step::Image => Ok(made(driver.ensure_image(fence, present(request.plan.as_ref())?).await?)),
        Step::Network => Ok(made(
            driver.ensure_network(fence, present(request.plan.as_ref())?).await?,
        )),
        Step::Disk => Ok(made(driver.ensure_disk(fence, present(request.plan.as_ref())?).await?)),
        Step::Instance => instance(request).await,
        Step::Power => power(request, present(reference)?).await,
        Step::Confirm | Step::Look => Ok(Answer::Observed(driver.observe(present(reference)?).await?)),
        Step::Await => Ok(Answer::Done(None)),
        Step::Remove => match driver.ensure_deleted(fence, reference).await {
            Err(error) if error.class == Class::NotFound => Ok(Answer::Done(None)),
            result => Ok(progress(result?, |()| None)),
        },
        Step::Absent => Ok(Answer::Found(driver.find(&fence.identity()).await?)),
    }
}

async fn poll(request: &Request, task: &str) -> Result<Answer, DriverError> {
    let state = request.driver.poll(task).await?;
    match state {
        TaskState::Running { percent, poll_after } => Ok(Answer::Running { percent, poll_after }),
        // However it ended, nothing is under way any more.
        _ if request.step == Step::Await => Ok(Answer::Done(None)),
        TaskState::Succeeded(reference) => Ok(Answer::Done(reference)),
        TaskState::Failed(error) => Ok(Answer::TaskFailed(error)),
        TaskState::Unknown => Ok(Answer::Forgotten),
    }
}

/// A call whose reply was lost may have made the machine, so it is looked for first.
async fn instance(request: &Request) -> Result<Answer, DriverError> {
    if request.is_resumed {
        match request.driver.find(&request.fence.identity()).await? {
            Found::One(found) => return Ok(Answer::Done(Some(found.reference))),
            Found::Many(_) => return Err(DriverError::new(Class::IdentityExists, "identity_collision")),
            Found::None => {}
        }
    }
    let plan = present(request.plan.as_ref())?;
    Ok(made(request.driver.ensure_instance(&request.fence, plan, None).await?))
}

async fn power(request: &Request, reference: &str) -> Result<Answer, DriverError> {
    if request.is_resumed {
        let seen = request.driver.observe(reference).await?;
        if seen.is_running() {
            return Ok(Answer::Done(None));
        }
        if seen.power == Power::Changing {
            return Ok(Answer::Running {
                percent: None,
                poll_after: CHANGING_POLL,
            });
        }
    }
    let progressed = request
        .driver
        .ensure_power(&request.fence, reference, &PowerTarget::On)
        .await?;
    Ok(progress(progressed, |()| None))
}

fn made(progressed: Progress<Resource>) -> Answer {
    progress(progressed, |resource| Some(resource.reference))
}

fn progress<T>(progressed: Progress<T>, reference: impl FnOnce(T) -> Option<String>) -> Answer {
    match progressed {
        Progress::Done(done) => Answer::Done(reference(done)),
        Progress::Pending { task, poll_after } => Answer::Pending { task, poll_after },
    }
}

/// An earlier step stored it; a record without it is a mistake of ours and no reason to ask a provider for anything.
fn present<T>(value: Option<T>) -> Result<T, DriverError> {
    value.ok_or_else(|| DriverError::new(Class::Unknown, "record_incomplete"))
}
