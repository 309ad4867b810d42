//! What becomes of a VM when its provider fails.

use bulkhead_compute::{
    driver::{Class, DriverError},
    simulator::{Injected, Options},
    vms::{Phase, Status, VmFault, service},
};

use super::{Lab, fault};

#[tokio::test]
async fn a_provider_that_is_away_delays_a_creation_and_fails_none() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let down = Injected::Fail(DriverError::new(Class::Transient, "down").private("db-3.internal refused"));
    let stuck = lab.worker(fault("ensure_disk", down));
    for _ in 0..3 {
        lab.make_due(vm).await;
        assert!(stuck.run_vm(lab.tenant, vm).await.unwrap());
    }
    assert_eq!(lab.detail(vm).await.vm.status(), Status::Provisioning);
    let due = sqlx::query!(
        r#"SELECT failures, due_at > now() AS "is_later!" FROM control.vm_work WHERE vm_id = $1"#,
        vm.uuid(),
    )
    .fetch_one(&mut lab.test.connect("postgres").await)
    .await
    .unwrap();
    assert_eq!((due.failures, due.is_later), (3, true));
    lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
    let told = lab
        .timeline(vm)
        .await
        .into_iter()
        .filter(|code| code == "provider.unavailable")
        .count();
    assert_eq!(told, 1, "the same trouble was told again and again");
    let after = service::LogQuery::After { seq: 0, limit: 100 };
    let (events, _) = service::logs(&lab.scope, &lab.db, vm, after).await.unwrap();
    assert!(
        events.iter().all(|event| !event.message.contains("internal")),
        "a host of the provider leaked"
    );
    assert!(
        events
            .iter()
            .all(|event| event.principal == lab.scope.origin.principal && event.request_id == "req-1")
    );
}

#[tokio::test]
async fn a_machine_that_can_never_be_made_leaves_nothing_but_the_reason() {
    for method in ["plan", "ensure_disk", "ensure_instance"] {
        let lab = Lab::new().await;
        let vm = lab.create("web").await;
        let refused = Injected::Fail(DriverError::new(Class::InvalidSpec, "too_odd").public("Too odd."));
        lab.drive(&lab.worker(fault(method, refused)), vm, Phase::Error).await;
        let shown = lab.detail(vm).await.vm;
        assert_eq!(
            (shown.status(), shown.fault),
            (Status::Error, Some(VmFault::CreateFailed))
        );
        assert_eq!(lab.ledger().existing(), Vec::<&str>::new(), "{method}");
        assert_eq!(lab.allocations().await, 0);
        assert_eq!(lab.operations(vm).await, [("create".to_owned(), "failed".to_owned())]);
        assert_eq!(lab.timeline(vm).await.last().unwrap(), "vm.create_failed");
        let error = sqlx::query_scalar!(r#"SELECT last_error AS "error!" FROM vms WHERE id = $1"#, vm.uuid())
            .fetch_one(&mut lab.test.look_into(lab.tenant).await)
            .await
            .unwrap();
        assert_eq!(
            (error["code"].as_str(), error["message"].as_str()),
            (Some("too_odd"), Some("Too odd."))
        );

        service::delete(&lab.scope, &lab.db, vm).await.unwrap();
        lab.drive(&lab.worker(Options::default()), vm, Phase::Deleted).await;
        lab.assert_gone(vm).await;
    }
}

#[tokio::test]
async fn a_creation_past_its_deadline_is_cleaned_up_and_fails() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let full = Injected::Fail(DriverError::new(Class::Capacity, "full"));
    let stuck = lab.worker(fault("ensure_instance", full));
    assert!(stuck.run_vm(lab.tenant, vm).await.unwrap());
    sqlx::query!("UPDATE vm_operations SET deadline_at = now()")
        .execute(&mut lab.test.look_into(lab.tenant).await)
        .await
        .unwrap();
    lab.drive(&stuck, vm, Phase::Error).await;
    assert_eq!(lab.ledger().existing(), Vec::<&str>::new());
    assert_eq!(lab.detail(vm).await.vm.fault, Some(VmFault::CreateFailed));
}

#[tokio::test]
async fn a_machine_that_cannot_start_is_shown_where_it_is() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let refused = Injected::Fail(DriverError::new(Class::Unsupported, "no_power"));
    lab.drive(&lab.worker(fault("ensure_power", refused)), vm, Phase::Stopped)
        .await;
    assert_eq!(lab.operations(vm).await, [("create".to_owned(), "failed".to_owned())]);
    assert_eq!(lab.segments(vm).await.0, ["disk"]);
    assert_eq!(lab.allocations().await, 1);
}
