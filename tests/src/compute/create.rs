//! A VM on its way to RUNNING.

use std::time::Duration;

use bulkhead_compute::{
    simulator::Options,
    vms::{Phase, Status, VmError, service},
};
use tokio_util::sync::CancellationToken;

use super::Lab;
use crate::harness::eventually;

#[tokio::test]
async fn a_vm_reaches_running_and_everything_about_it_is_written_down() {
    let lab = Lab::new().await;
    let accepted = service::create(&lab.scope, &lab.db, &lab.new_vm(" web "), None)
        .await
        .unwrap();
    assert_eq!(
        (accepted.vm.name.as_str(), accepted.vm.status()),
        ("web", Status::Provisioning)
    );
    let vm = accepted.vm.id;
    let detail = lab.detail(vm).await;
    assert_eq!(detail.task(), Some("queued"));
    assert_eq!(
        detail.operation.as_ref().map(|operation| operation.id),
        Some(accepted.operation)
    );

    lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;

    let detail = lab.detail(vm).await;
    assert_eq!(
        (detail.vm.status(), detail.task(), &detail.operation),
        (Status::Running, None, &None)
    );
    assert!(
        detail
            .vm
            .ip_address
            .as_deref()
            .is_some_and(|address| address.starts_with("10."))
    );
    assert!(detail.vm.version > 1);
    let timeline = lab.timeline(vm).await;
    let expected = [
        "vm.requested",
        "vm.provisioning",
        "vm.image_ready",
        "vm.network_ready",
        "vm.disk_ready",
        "vm.starting",
        "vm.running",
        "vm.address",
    ];
    assert_eq!(timeline, expected);
    assert_eq!(
        lab.operations(vm).await,
        [("create".to_owned(), "succeeded".to_owned())]
    );
    assert_eq!(
        lab.segments(vm).await,
        (vec!["compute".into(), "disk".into(), "memory".into()], 3)
    );
    assert_eq!(lab.allocations().await, 1);
    let ledger = lab.ledger();
    assert_eq!(ledger.existing().len(), 1);
    assert_eq!(ledger.creations(ledger.existing()[0]), 1);
}

#[tokio::test]
async fn generations_meet_and_the_lease_is_given_back() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
    let row = sqlx::query!(
        "SELECT desired_gen, applied_gen, provider FROM vms WHERE id = $1",
        vm.uuid()
    )
    .fetch_one(&mut lab.test.look_into(lab.tenant).await)
    .await
    .unwrap();
    assert_eq!((row.desired_gen, row.applied_gen), (1, 1));
    assert_eq!(row.provider.as_deref(), Some("simulator"));
    let work = sqlx::query!(
        r#"SELECT provider, failures, lease_owner, due_at > now() AS "is_later!" FROM control.vm_work WHERE vm_id = $1"#,
        vm.uuid(),
    )
    .fetch_one(&mut lab.test.connect("postgres").await)
    .await
    .unwrap();
    assert_eq!(work.provider.as_deref(), Some("simulator"));
    assert_eq!((work.failures, work.lease_owner, work.is_later), (0, None, true));
    // At rest nothing changes but by being looked at.
    let before = lab.detail(vm).await;
    lab.make_due(vm).await;
    assert!(lab.worker(Options::default()).run_vm(lab.tenant, vm).await.unwrap());
    assert_eq!(lab.detail(vm).await, before);
}

#[tokio::test]
async fn a_vm_that_is_not_due_or_anothers_is_left_alone() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let worker = lab.worker(Options::default());
    let other = lab.test.tenant(&lab.db, "other").await;
    assert!(!worker.run_vm(other, vm).await.unwrap(), "a forged job did something");
    assert_eq!(lab.phase(vm).await, Phase::Requested);
    lab.drive(&worker, vm, Phase::Running).await;
    assert!(!worker.run_vm(lab.tenant, vm).await.unwrap());
}

#[tokio::test]
async fn long_tasks_are_stored_and_asked_for() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let options = Options {
        creation: Duration::from_millis(60),
        boot: Duration::from_millis(60),
        ..Options::default()
    };
    let worker = lab.worker(options);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    eventually("the VM runs", async || {
        (lab.phase(vm).await == Phase::Running).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    let tasks = sqlx::query_scalar!("SELECT name FROM vm_operation_steps WHERE task_ref IS NOT NULL ORDER BY position")
        .fetch_all(&mut lab.test.look_into(lab.tenant).await)
        .await
        .unwrap();
    assert_eq!(tasks, ["instance", "power"]);
}

#[tokio::test]
async fn two_workers_over_many_vms_make_each_once() {
    let lab = Lab::new().await;
    let mut vms = Vec::new();
    for index in 0..12 {
        vms.push(lab.create(&format!("vm-{index}")).await);
    }
    let stop = CancellationToken::new();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let options = Options {
            boot: Duration::from_millis(30),
            ..Options::default()
        };
        let (worker, stop) = (lab.worker(options), stop.clone());
        workers.spawn(async move { worker.run(stop).await });
    }
    for vm in &vms {
        eventually("the VM runs", async || {
            (lab.phase(*vm).await == Phase::Running).then_some(())
        })
        .await;
    }
    stop.cancel();
    workers.join_all().await;
    let ledger = lab.ledger();
    assert_eq!(ledger.existing().len(), vms.len());
    for identity in ledger.existing() {
        assert_eq!(ledger.creations(identity), 1);
    }
    for vm in vms {
        assert_eq!(
            lab.operations(vm).await,
            [("create".to_owned(), "succeeded".to_owned())]
        );
        assert_eq!(lab.segments(vm).await.1, 3);
    }
}

#[tokio::test]
async fn a_name_is_taken_whatever_its_case_until_its_vm_is_gone() {
    let lab = Lab::new().await;
    let vm = lab.create("Web").await;
    let again = service::create(&lab.scope, &lab.db, &lab.new_vm("wEB "), None).await;
    assert!(matches!(again, Err(VmError::NameTaken(Some(existing))) if existing == vm));
    assert_eq!(lab.allocations().await, 1, "a refused VM was charged");
    service::delete(&lab.scope, &lab.db, vm).await.unwrap();
    lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
    lab.create("web").await;
}

#[tokio::test]
async fn of_many_that_want_a_name_at_once_one_gets_it() {
    let lab = std::sync::Arc::new(Lab::new().await);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let lab = lab.clone();
        racers.spawn(async move { service::create(&lab.scope, &lab.db, &lab.new_vm("web"), None).await });
    }
    let results = racers.join_all().await;
    let winner = results.iter().flatten().next().unwrap().vm.id;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results.into_iter().filter_map(Result::err) {
        assert!(
            matches!(result, VmError::NameTaken(Some(existing)) if existing == winner),
            "{result:?}"
        );
    }
    assert_eq!(lab.allocations().await, 1);
}

#[tokio::test]
async fn nothing_is_written_for_a_template_that_is_not_there_or_too_big() {
    let lab = Lab::new().await;
    let mut unknown = lab.new_vm("web");
    unknown.template_id = Some(bulkhead_kernel::ids::TemplateId::new().to_string());
    let refused = service::create(&lab.scope, &lab.db, &unknown, None).await;
    assert!(matches!(refused, Err(VmError::TemplateUnavailable)));
    let mut small = lab.new_vm("web");
    small.disk_gb = 5;
    let refused = service::create(&lab.scope, &lab.db, &small, None).await;
    assert!(matches!(refused, Err(VmError::BelowTemplateMinimum(_))));
    sqlx::query!("UPDATE control.vm_templates SET deprecated_at = now()")
        .execute(&mut lab.test.connect("postgres").await)
        .await
        .unwrap();
    let refused = service::create(&lab.scope, &lab.db, &lab.new_vm("web"), None).await;
    assert!(matches!(refused, Err(VmError::TemplateUnavailable)));
    assert_eq!(lab.allocations().await, 0);
    let jobs = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM control.jobs"#)
        .fetch_one(&mut lab.test.connect("postgres").await)
        .await
        .unwrap();
    assert_eq!(jobs, 0);
}
