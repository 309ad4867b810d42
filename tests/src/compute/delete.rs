//! A VM can be deleted wherever it is on its way.

use std::sync::Arc;

use bulkhead_compute::{
    driver::{Class, DriverError},
    simulator::{Injected, Options},
    vms::{Deletion, Phase, VmError, remove_all, service},
};
use bulkhead_kernel::{clock::Clock, ids::VmId};
use tokio::sync::{Notify, Semaphore};

use super::{Lab, fault, hook, scope};

async fn delete(lab: &Lab, vm: VmId) -> Deletion {
    service::delete(&lab.scope, &lab.db, vm).await.unwrap()
}

#[tokio::test]
async fn a_running_vm_goes_and_leaves_its_timeline() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let worker = lab.worker(Options::default());
    lab.drive(&worker, vm, Phase::Running).await;
    let Deletion::Accepted(first) = delete(&lab, vm).await else {
        panic!()
    };
    let Deletion::Accepted(second) = delete(&lab, vm).await else {
        panic!()
    };
    assert_eq!(first.operation, second.operation);
    lab.drive(&worker, vm, Phase::Deleted).await;
    lab.assert_gone(vm).await;
    assert_eq!(lab.segments(vm).await.1, 3);
    assert_eq!(delete(&lab, vm).await, Deletion::AlreadyDeleted);
    assert!(matches!(
        service::get(&lab.scope, &lab.db, vm).await,
        Err(VmError::NotFound)
    ));
    let page = bulkhead_kernel::page::PageRequest::new(1, 1).unwrap();
    let (newest, total) = service::logs(&lab.scope, &lab.db, vm, service::LogQuery::Newest(page))
        .await
        .unwrap();
    assert_eq!((newest[0].code.as_str(), newest[0].seq), ("vm.deleted", total));
}

/// A purge asks this again and again, and goes on when it is told that nothing is left.
#[tokio::test]
async fn all_machines_are_gone_only_when_their_providers_have_removed_them() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let worker = lab.worker(Options::default());
    lab.drive(&worker, vm, Phase::Running).await;
    let are_gone = async || remove_all(&lab.db, &Clock::system(), lab.tenant).await.unwrap();
    for _ in 0..2 {
        assert!(!are_gone().await, "asked for, and not done");
    }
    lab.drive(&worker, vm, Phase::Deleted).await;
    assert!(are_gone().await);
    assert!(lab.ledger().existing().is_empty());
}

#[tokio::test]
async fn a_vm_nobody_began_to_make_goes_without_a_provider() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    delete(&lab, vm).await;
    lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
    lab.assert_gone(vm).await;
    assert_eq!(
        lab.operations(vm).await[0],
        ("create".to_owned(), "cancelled".to_owned())
    );
    assert!(lab.ledger().machines.is_empty());
}

/// The creation stops at `method`, in that way, and the deletion comes then.
async fn delete_at(method: &'static str, injected: Injected) {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let stuck = lab.worker(fault(method, injected));
    assert!(stuck.run_vm(lab.tenant, vm).await.unwrap());
    assert_ne!(lab.phase(vm).await, Phase::Running, "{method} was never called");
    delete(&lab, vm).await;
    lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
    lab.assert_gone(vm).await;
    assert_eq!(
        lab.operations(vm).await[0],
        ("create".to_owned(), "cancelled".to_owned()),
        "{method}"
    );
}

#[tokio::test]
async fn a_creation_can_be_called_off_at_every_step() {
    for method in [
        "plan",
        "ensure_image",
        "ensure_network",
        "ensure_disk",
        "ensure_instance",
        "ensure_power",
        "observe",
    ] {
        delete_at(method, Injected::Fail(DriverError::new(Class::Transient, "down"))).await;
        delete_at(method, Injected::LoseReply).await;
    }
}

#[tokio::test]
async fn a_task_under_way_is_waited_for_before_the_machine_is_removed() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let slow = Options {
        creation: std::time::Duration::from_secs(3600),
        ..Options::default()
    };
    let worker = lab.worker(slow);
    assert!(worker.run_vm(lab.tenant, vm).await.unwrap());
    assert_eq!(lab.detail(vm).await.task(), Some("instance"));
    delete(&lab, vm).await;
    assert!(worker.run_vm(lab.tenant, vm).await.unwrap());
    lab.make_due(vm).await;
    assert!(worker.run_vm(lab.tenant, vm).await.unwrap());
    assert_eq!(
        (lab.phase(vm).await, lab.detail(vm).await.task()),
        (Phase::Deleting, Some("deleting"))
    );
    assert_eq!(lab.ledger().existing().len(), 1, "removed while it was being made");
}

#[tokio::test]
async fn a_deletion_that_comes_during_a_look_makes_the_vm_due_at_once() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
    lab.make_due(vm).await;
    let (gate, reached) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (hold, tell) = (Injected::Hold(Arc::clone(&gate)), Arc::clone(&reached));
    let worker = lab.worker(hook(move |call| {
        (call.method == "observe").then(|| {
            tell.notify_one();
            hold.clone()
        })
    }));
    let (looking, tenant) = (worker.clone(), lab.tenant);
    let look = tokio::spawn(async move { looking.run_vm(tenant, vm).await });
    reached.notified().await;
    delete(&lab, vm).await;
    assert!(!worker.run_vm(lab.tenant, vm).await.unwrap(), "a held VM was taken");
    gate.add_permits(1);
    assert!(look.await.unwrap().unwrap());
    assert!(worker.run_vm(lab.tenant, vm).await.unwrap(), "the change was forgotten");
    lab.assert_gone(vm).await;
}

#[tokio::test]
async fn a_deletion_is_tried_until_it_succeeds() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
    delete(&lab, vm).await;
    let refused = Injected::Fail(DriverError::new(Class::InvalidSpec, "no"));
    let stuck = lab.worker(fault("ensure_deleted", refused));
    for _ in 0..3 {
        lab.make_due(vm).await;
        assert!(stuck.run_vm(lab.tenant, vm).await.unwrap());
        assert_eq!(lab.phase(vm).await, Phase::Deleting);
    }
    lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
    lab.assert_gone(vm).await;
}

#[tokio::test]
async fn anothers_vm_is_not_found() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let other = lab.test.tenant(&lab.db, "other").await;
    let stranger = scope(&lab.db, other).await;
    assert!(matches!(
        service::get(&stranger, &lab.db, vm).await,
        Err(VmError::NotFound)
    ));
    assert!(matches!(
        service::delete(&stranger, &lab.db, vm).await,
        Err(VmError::NotFound)
    ));
    let after = service::LogQuery::After { seq: 0, limit: 10 };
    assert!(matches!(
        service::logs(&stranger, &lab.db, vm, after).await,
        Err(VmError::NotFound)
    ));
    assert_eq!(lab.phase(vm).await, Phase::Requested);
    assert_eq!(lab.timeline(vm).await, ["vm.requested"]);
}
