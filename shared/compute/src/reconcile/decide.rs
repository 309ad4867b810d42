//! What comes next for a VM: a pure function of its records and the time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::model::{CLEAN_UP, CREATE, DELETE, Decision, Rest, Step, Steps, Subject};
use crate::{
    operations::{Kind, Operation, StepState},
    vms::{Desired, Phase},
};

/// How soon a machine is looked at again that runs without a known address.
const ADDRESS_POLL: Duration = Duration::from_secs(2);

/// Decides; `observe_interval` is how long a machine at rest is left alone.
pub(super) fn decide(subject: &Subject, now: DateTime<Utc>) -> Decision {
    if subject.phase == Phase::Deleted {
        return Decision::Rest(Rest::Never);
    }
    match (&subject.running, &subject.pending) {
        (Some(running), _) if subject.desired == Desired::Deleted && running.kind != Kind::Delete => Decision::Cancel,
        (Some(running), _) => match running.kind {
            Kind::Create => create(subject, running, now),
            Kind::Delete => delete(subject),
            _ => Decision::Rest(Rest::Never),
        },
        (None, Some(pending)) if matches!(pending.kind, Kind::Create | Kind::Delete) => Decision::Begin,
        (None, Some(_)) => Decision::Rest(Rest::Never),
        (None, None) => match subject.phase {
            Phase::Running | Phase::Stopped => Decision::Look,
            _ => Decision::Rest(Rest::Never),
        },
    }
}

/// How long a machine at rest is left alone.
pub(super) fn interval(subject: &Subject, observe_interval: Duration) -> Duration {
    if subject.phase == Phase::Running && subject.ip_address.is_none() {
        observe_interval.min(ADDRESS_POLL)
    } else {
        observe_interval
    }
}

fn create(subject: &Subject, operation: &Operation, now: DateTime<Utc>) -> Decision {
    let has_failed = operation.error.is_some();
    if has_failed && subject.phase == Phase::Starting {
        return Decision::Look;
    }
    if has_failed {
        // Without a plan no provider was ever asked for anything.
        return if subject.plan.is_none() {
            Decision::Finish
        } else {
            walk(subject, CLEAN_UP)
        };
    }
    if operation.deadline_at.is_some_and(|deadline| now >= deadline) {
        return Decision::Expire;
    }
    walk(subject, CREATE)
}

fn delete(subject: &Subject) -> Decision {
    if subject.provider.is_none() {
        Decision::Finish
    } else {
        walk(subject, DELETE)
    }
}

fn walk(subject: &Subject, steps: Steps) -> Decision {
    let row = |position: i16| subject.steps.iter().find(|row| row.position == position);
    let is_done = |position: i16| row(position).is_some_and(|row| row.state == StepState::Done);
    let Some(&(position, step)) = steps.iter().find(|(position, _)| !is_done(*position)) else {
        return Decision::Finish;
    };
    if step == Step::Await && subject.leftover.is_none() {
        return Decision::Skip(position, step);
    }
    match row(position) {
        Some(row) if row.state == StepState::Waiting && row.task_ref.is_some() => Decision::Poll {
            position,
            step,
            task: row.task_ref.clone().unwrap_or_default(),
        },
        row => Decision::Call {
            position,
            step,
            is_resumed: row.is_some(),
        },
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_kernel::ids::{OperationId, TemplateId, VmId};
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::{
        driver::Plan,
        operations::{State, Step as StepRow},
        vms::{Size, Status},
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn subject(phase: Phase, desired: Desired) -> Subject {
        Subject {
            vm: VmId::new(),
            name: "web".into(),
            phase,
            last_stable: Status::of(phase, Status::Provisioning),
            desired,
            size: Size {
                cpu: 1,
                memory_gb: 1,
                disk_gb: 10,
            },
            template: Some(TemplateId::new()),
            incarnation: 1,
            provider: None,
            plan: None,
            provider_ref: None,
            ip_address: None,
            observed: json!({}),
            version: 1,
            running: None,
            pending: None,
            steps: Vec::new(),
            leftover: None,
        }
    }

    fn planned(mut subject: Subject) -> Subject {
        subject.provider = Some("simulator".into());
        subject.plan = Some(Plan {
            zone: String::new(),
            image: String::new(),
            digest: String::new(),
            name: String::new(),
            cpu: 1,
            memory_gb: 1,
            disk_gb: 10,
            details: serde_json::Map::new(),
        });
        subject
    }

    fn operation(kind: Kind, state: State) -> Operation {
        Operation {
            id: OperationId::new(),
            kind,
            state,
            target_gen: 1,
            step: None,
            steps_done: 0,
            steps_total: 0,
            principal: "system".into(),
            request_id: "test".into(),
            created_at: now(),
            deadline_at: kind.deadline().map(|allowed| now() + allowed),
            error: None,
        }
    }

    fn row(position: i16, state: StepState, task: Option<&str>) -> StepRow {
        StepRow {
            position,
            state,
            attempts: 1,
            lease_epoch: 1,
            task_ref: task.map(str::to_owned),
        }
    }

    #[test]
    fn a_new_vm_begins_with_its_plan() {
        let mut vm = subject(Phase::Requested, Desired::Running);
        vm.pending = Some(operation(Kind::Create, State::Pending));
        assert_eq!(decide(&vm, now()), Decision::Begin);
        vm.running = vm.pending.take();
        vm.phase = Phase::Provisioning;
        let expected = Decision::Call {
            position: 1,
            step: Step::Plan,
            is_resumed: false,
        };
        assert_eq!(decide(&vm, now()), expected);
    }

    #[test]
    fn a_step_without_a_result_is_resumed_and_a_task_is_polled() {
        let mut vm = planned(subject(Phase::Provisioning, Desired::Running));
        vm.running = Some(operation(Kind::Create, State::Running));
        vm.steps = (1..=4).map(|position| row(position, StepState::Done, None)).collect();
        vm.steps.push(row(5, StepState::Intent, None));
        let expected = Decision::Call {
            position: 5,
            step: Step::Instance,
            is_resumed: true,
        };
        assert_eq!(decide(&vm, now()), expected);
        vm.steps[4] = row(5, StepState::Waiting, Some("task-1"));
        let expected = Decision::Poll {
            position: 5,
            step: Step::Instance,
            task: "task-1".into(),
        };
        assert_eq!(decide(&vm, now()), expected);
    }

    #[test]
    fn a_deletion_calls_off_the_creation_first() {
        let mut vm = planned(subject(Phase::Provisioning, Desired::Deleted));
        vm.running = Some(operation(Kind::Create, State::Running));
        vm.pending = Some(operation(Kind::Delete, State::Pending));
        assert_eq!(decide(&vm, now()), Decision::Cancel);
    }

    #[test]
    fn a_deletion_waits_for_what_the_creation_left_running() {
        let mut vm = planned(subject(Phase::Deleting, Desired::Deleted));
        vm.running = Some(operation(Kind::Delete, State::Running));
        assert_eq!(decide(&vm, now()), Decision::Skip(1, Step::Await));
        vm.leftover = Some("task-1".into());
        let expected = Decision::Call {
            position: 1,
            step: Step::Await,
            is_resumed: false,
        };
        assert_eq!(decide(&vm, now()), expected);
    }

    #[test]
    fn a_vm_that_no_provider_knows_is_deleted_without_a_call() {
        let mut vm = subject(Phase::Deleting, Desired::Deleted);
        vm.running = Some(operation(Kind::Delete, State::Running));
        assert_eq!(decide(&vm, now()), Decision::Finish);
    }

    #[test]
    fn a_creation_past_its_deadline_is_cleaned_up_before_it_fails() {
        let mut vm = planned(subject(Phase::Provisioning, Desired::Running));
        vm.running = Some(operation(Kind::Create, State::Running));
        let late = now() + TimeDelta::minutes(61);
        assert_eq!(decide(&vm, late), Decision::Expire);
        vm.running.as_mut().unwrap().error = Some(json!({"code": "deadline"}));
        let expected = Decision::Call {
            position: 20,
            step: Step::Remove,
            is_resumed: false,
        };
        assert_eq!(decide(&vm, late), expected);
        vm.steps = vec![row(20, StepState::Done, None), row(21, StepState::Done, None)];
        assert_eq!(decide(&vm, late), Decision::Finish);
    }

    #[test]
    fn a_deletion_has_no_deadline() {
        let mut vm = planned(subject(Phase::Deleting, Desired::Deleted));
        vm.running = Some(operation(Kind::Delete, State::Running));
        vm.steps = vec![row(1, StepState::Done, None)];
        let expected = Decision::Call {
            position: 2,
            step: Step::Remove,
            is_resumed: false,
        };
        assert_eq!(decide(&vm, now() + TimeDelta::days(9)), expected);
    }

    #[test]
    fn machines_at_rest_are_looked_at_and_others_left_alone() {
        assert_eq!(
            decide(&subject(Phase::Running, Desired::Running), now()),
            Decision::Look
        );
        assert_eq!(
            decide(&subject(Phase::Error, Desired::Running), now()),
            Decision::Rest(Rest::Never)
        );
        assert_eq!(
            decide(&subject(Phase::Deleted, Desired::Deleted), now()),
            Decision::Rest(Rest::Never)
        );
    }
}
