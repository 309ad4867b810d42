//! A worker that dies anywhere leaves a VM that the next one finishes, once; one that was only away changes nothing.

use std::sync::Arc;

use bulkhead_compute::{
    driver::{Class, DriverError},
    simulator::{Injected, Options},
    vms::{Phase, service},
};
use bulkhead_kernel::ids::VmId;
use tokio::sync::{Notify, Semaphore};

use super::{Lab, fault, hook};

/// Every call of a creation and a deletion.
const CREATION: [&str; 7] = [
    "plan",
    "ensure_image",
    "ensure_network",
    "ensure_disk",
    "ensure_instance",
    "ensure_power",
    "observe",
];
const DELETION: [&str; 2] = ["ensure_deleted", "find"];

/// Options under which the first call of `method` is stopped in that way, and word of it.
fn stopped_at(method: &'static str, injected: Injected) -> (Options, Arc<Notify>) {
    let reached = Arc::new(Notify::new());
    let tell = Arc::clone(&reached);
    let options = hook(move |call| {
        (call.method == method).then(|| {
            tell.notify_one();
            injected.clone()
        })
    });
    (options, reached)
}

/// A worker dies in the call of `method`, before or after its effect; another takes over when the lease is over.
async fn killed_at(lab: &Lab, vm: VmId, method: &'static str, injected: Injected) {
    let (options, reached) = stopped_at(method, injected);
    let (worker, tenant) = (lab.worker(options), lab.tenant);
    let victim = tokio::spawn(async move { worker.run_vm(tenant, vm).await });
    reached.notified().await;
    victim.abort();
    assert!(victim.await.unwrap_err().is_cancelled(), "{method} did not stop it");
    lab.expire_lease(vm).await;
}

#[tokio::test]
async fn a_creation_survives_a_death_in_any_call() {
    for method in CREATION {
        for injected in [Injected::Hang, Injected::Hold(Arc::new(Semaphore::new(0)))] {
            let lab = Lab::new().await;
            let vm = lab.create("web").await;
            killed_at(&lab, vm, method, injected).await;
            lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
            let ledger = lab.ledger();
            assert_eq!(ledger.existing().len(), 1, "{method}");
            assert_eq!(ledger.creations(ledger.existing()[0]), 1, "{method}");
            assert_eq!(lab.segments(vm).await.1, 3, "{method}");
            assert_eq!(
                lab.operations(vm).await,
                [("create".to_owned(), "succeeded".to_owned())],
                "{method}"
            );
            lab.timeline(vm).await;
        }
    }
}

#[tokio::test]
async fn a_deletion_survives_a_death_in_any_call() {
    for method in DELETION {
        for injected in [Injected::Hang, Injected::Hold(Arc::new(Semaphore::new(0)))] {
            let lab = Lab::new().await;
            let vm = lab.create("web").await;
            lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
            service::delete(&lab.scope, &lab.db, vm).await.unwrap();
            killed_at(&lab, vm, method, injected).await;
            lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
            lab.assert_gone(vm).await;
        }
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    for method in ["plan", "ensure_disk", "ensure_instance", "ensure_power", "observe"] {
        let lab = Lab::new().await;
        let vm = lab.create("web").await;
        let gate = Arc::new(Semaphore::new(0));
        let (options, reached) = stopped_at(method, Injected::Hold(Arc::clone(&gate)));
        let (worker, tenant) = (lab.worker(options), lab.tenant);
        let zombie = tokio::spawn(async move { worker.run_vm(tenant, vm).await });
        reached.notified().await;
        lab.expire_lease(vm).await;
        // The heir comes as far as the last step, so that whatever the zombie has to say would still change something.
        let away = Injected::Fail(DriverError::new(Class::Transient, "away"));
        assert!(lab.worker(fault("observe", away)).run_vm(lab.tenant, vm).await.unwrap());
        let (detail, timeline, ledger) = (lab.detail(vm).await, lab.timeline(vm).await, lab.ledger());
        assert_eq!((detail.vm.phase, detail.task()), (Phase::Starting, Some("starting")));

        gate.add_permits(1);
        zombie.await.unwrap().unwrap();
        assert_eq!(lab.detail(vm).await, detail, "{method}");
        assert_eq!(lab.timeline(vm).await, timeline, "{method}");
        assert_eq!(lab.ledger(), ledger, "{method}");
        let work = sqlx::query!(
            "SELECT lease_owner, lease_epoch, failures FROM control.vm_work WHERE vm_id = $1",
            vm.uuid()
        )
        .fetch_one(&mut lab.test.connect("postgres").await)
        .await
        .unwrap();
        assert_eq!(
            (work.lease_owner, work.lease_epoch, work.failures),
            (None, 2, 1),
            "{method}"
        );
        lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
        assert_eq!(lab.segments(vm).await.1, 3, "{method}");
    }
}

#[tokio::test]
async fn a_deletion_that_comes_while_a_worker_calls_is_done_by_the_same_pass() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let gate = Arc::new(Semaphore::new(0));
    let (options, reached) = stopped_at("ensure_instance", Injected::Hold(Arc::clone(&gate)));
    let (worker, tenant) = (lab.worker(options), lab.tenant);
    let pass = tokio::spawn(async move { worker.run_vm(tenant, vm).await });
    reached.notified().await;
    service::delete(&lab.scope, &lab.db, vm).await.unwrap();
    gate.add_permits(1);
    pass.await.unwrap().unwrap();
    lab.assert_gone(vm).await;
}
