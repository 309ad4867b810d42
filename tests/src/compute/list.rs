//! The hot list against its checked twin.

use bulkhead_compute::{
    simulator::Options,
    vms::{Phase, Status, VmError, VmQuery, service},
};
use bulkhead_iam::permissions::SystemRole;
use bulkhead_kernel::page::PageRequest;

use super::Lab;

fn query(page: u32, limit: u32) -> VmQuery {
    VmQuery {
        page: PageRequest::new(page, limit).unwrap(),
        search: None,
        status: None,
    }
}

async fn names(lab: &Lab, query: &VmQuery) -> (Vec<String>, i64) {
    let page = service::list(&lab.scope, &lab.db, query).await.unwrap();
    (page.items.into_iter().map(|vm| vm.name).collect(), page.total)
}

#[tokio::test]
async fn the_hot_list_says_what_its_checked_twin_says() {
    let lab = Lab::new().await;
    for index in 0..7 {
        let vm = lab.create(&format!("vm-{index}")).await;
        if index % 2 == 0 {
            lab.drive(&lab.worker(Options::default()), vm, Phase::Running).await;
        }
    }
    let gone = lab.create("vm-gone").await;
    service::delete(&lab.scope, &lab.db, gone).await.unwrap();
    lab.drive(&lab.worker(Options::default()), gone, Phase::Deleted).await;
    for (page, limit) in [(1, 20), (1, 3), (2, 3), (3, 3), (4, 3), (1, 100)] {
        let hot = service::list(&lab.scope, &lab.db, &query(page, limit)).await.unwrap();
        // All names have this in them, so the other statement gives the same rows.
        let searching = VmQuery {
            search: Some("VM-".into()),
            ..query(page, limit)
        };
        let checked = service::list(&lab.scope, &lab.db, &searching).await.unwrap();
        assert_eq!(hot, checked);
        assert_eq!(hot.total, 7);
    }
    let (all, _) = names(&lab, &query(1, 100)).await;
    assert_eq!(all, ["vm-6", "vm-5", "vm-4", "vm-3", "vm-2", "vm-1", "vm-0"]);
}

#[tokio::test]
async fn search_and_status_narrow_the_list() {
    let lab = Lab::new().await;
    for name in ["Web 1", "web_2", "50% off"] {
        lab.create(name).await;
    }
    let running = lab.create("runner").await;
    lab.drive(&lab.worker(Options::default()), running, Phase::Running)
        .await;
    let search = |text: &str| VmQuery {
        search: Some(text.into()),
        ..query(1, 20)
    };
    assert_eq!(
        names(&lab, &search("WEB")).await,
        (vec!["web_2".to_owned(), "Web 1".to_owned()], 2)
    );
    assert_eq!(names(&lab, &search("%")).await, (vec!["50% off".to_owned()], 1));
    assert_eq!(names(&lab, &search("_")).await.1, 1);
    assert_eq!(names(&lab, &search("'; DROP TABLE vms; --")).await.1, 0);
    assert_eq!(names(&lab, &search(" ")).await.1, 4);
    let status = |status| VmQuery {
        status: Some(status),
        ..query(1, 20)
    };
    assert_eq!(
        names(&lab, &status(Status::Running)).await,
        (vec!["runner".to_owned()], 1)
    );
    assert_eq!(names(&lab, &status(Status::Provisioning)).await.1, 3);
    assert_eq!(names(&lab, &status(Status::Error)).await.1, 0);
    let refused = service::list(&lab.scope, &lab.db, &search("a\u{0}")).await;
    assert!(matches!(refused, Err(VmError::Invalid(_))));
}

#[tokio::test]
async fn who_may_not_is_refused() {
    let mut lab = Lab::new().await;
    lab.scope.permissions = SystemRole::Viewer.permissions();
    let refused = service::create(&lab.scope, &lab.db, &lab.new_vm("web"), None).await;
    assert!(matches!(refused, Err(VmError::Forbidden(_))));
    assert_eq!(names(&lab, &query(1, 20)).await.1, 0);
}
