//! The same request under the same key makes one VM.

use std::sync::Arc;

use bulkhead_compute::{
    simulator::Options,
    vms::{Phase, VmError, service},
};

use super::Lab;

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_whatever_happened_since() {
    let lab = Lab::new().await;
    let create = async || service::create(&lab.scope, &lab.db, &lab.new_vm("web"), Some("key-1")).await;
    let first = create().await.unwrap();
    assert_eq!(create().await.unwrap(), first);
    service::delete(&lab.scope, &lab.db, first.vm.id).await.unwrap();
    lab.drive(&lab.worker(Options::default()), first.vm.id, Phase::Deleted)
        .await;
    assert_eq!(create().await.unwrap(), first);
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let lab = Lab::new().await;
    service::create(&lab.scope, &lab.db, &lab.new_vm("web"), Some("key-1"))
        .await
        .unwrap();
    let other = service::create(&lab.scope, &lab.db, &lab.new_vm("db"), Some("key-1")).await;
    assert!(matches!(other, Err(VmError::IdempotencyKeyReused)));
    assert_eq!(lab.allocations().await, 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let lab = Lab::new().await;
    let taken = lab.create("web").await;
    let refused = service::create(&lab.scope, &lab.db, &lab.new_vm("web"), Some("key-1")).await;
    assert!(matches!(refused, Err(VmError::NameTaken(Some(existing))) if existing == taken));
    service::create(&lab.scope, &lab.db, &lab.new_vm("db"), Some("key-1"))
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_are_printable_and_of_bounded_length() {
    let lab = Lab::new().await;
    for key in ["", "a\nb", "a\u{0}", "ü", &"x".repeat(256)] {
        let refused = service::create(&lab.scope, &lab.db, &lab.new_vm("web"), Some(key)).await;
        assert!(matches!(refused, Err(VmError::Invalid(_))), "{key:?}");
    }
}

#[tokio::test]
async fn of_many_at_once_all_get_the_same_vm() {
    let lab = Arc::new(Lab::new().await);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let lab = Arc::clone(&lab);
        senders.spawn(async move {
            service::create(&lab.scope, &lab.db, &lab.new_vm("web"), Some("key-1"))
                .await
                .unwrap()
        });
    }
    let answers = senders.join_all().await;
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(lab.allocations().await, 1);
}
