//! Things of the tenants' own: the tests to copy with the slice.

use bulkhead_iam::permissions::SystemRole;
use bulkhead_kernel::page::PageRequest;
use bulkhead_resources::{Changes, NewResource, Resource, ResourceError, ResourceQuery, Sort, service};
use http::Method;
use serde_json::{Value, json};

use crate::{
    audit::{Lab, scope},
    harness::{App, Client},
};

fn wanted(kind: &str, name: &str, attributes: Value) -> NewResource {
    NewResource {
        kind: kind.into(),
        name: name.into(),
        attributes: attributes.as_object().unwrap().clone(),
    }
}

async fn create(lab: &Lab, new: &NewResource, key: Option<&str>) -> Result<Resource, ResourceError> {
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    let created = service::create(&lab.scope, &mut tx, new, key).await?;
    tx.commit().await.unwrap();
    Ok(created)
}

#[tokio::test]
async fn who_lacks_the_permission_can_do_nothing() {
    let lab = Lab::new().await;
    let kept = create(&lab, &wanted("disk", "fast", json!({})), None).await.unwrap();
    let viewer = scope(&lab.db, lab.tenant, SystemRole::Viewer, &lab.scope.clock).await;
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    let new = wanted("disk", "slow", json!({}));
    assert!(matches!(
        service::create(&viewer, &mut tx, &new, None).await,
        Err(ResourceError::Forbidden(_))
    ));
    let changes = Changes::default();
    assert!(matches!(
        service::update(&viewer, &mut tx, kept.id, None, &changes).await,
        Err(ResourceError::Forbidden(_))
    ));
    assert!(matches!(
        service::delete(&viewer, &mut tx, kept.id, None).await,
        Err(ResourceError::Forbidden(_))
    ));
    assert_eq!(service::get(&viewer, &mut tx, kept.id).await.unwrap(), kept);
    let mut nobody = viewer;
    nobody.permissions = bulkhead_iam::permissions::PermissionSet::EMPTY;
    assert!(matches!(
        service::get(&nobody, &mut tx, kept.id).await,
        Err(ResourceError::Forbidden(_))
    ));
    let all = ResourceQuery {
        kind: None,
        search: None,
        sort: Sort::default(),
        page: PageRequest::new(1, 20).unwrap(),
    };
    assert!(matches!(
        service::list(&nobody, &mut tx, &all).await,
        Err(ResourceError::Forbidden(_))
    ));
}

#[tokio::test]
async fn a_name_is_taken_within_its_type_whatever_its_case() {
    let lab = Lab::new().await;
    create(&lab, &wanted("disk", "fast", json!({})), None).await.unwrap();
    let again = create(&lab, &wanted("disk", " FAST ", json!({})), None).await;
    assert!(matches!(again, Err(ResourceError::NameTaken)));
    create(&lab, &wanted("net", "fast", json!({})), None).await.unwrap();
    let other = create(&lab, &wanted("disk", "slow", json!({})), None).await.unwrap();
    let changes = Changes {
        name: Some("Fast".into()),
        attributes: None,
    };
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    let renamed = service::update(&lab.scope, &mut tx, other.id, None, &changes).await;
    assert!(matches!(renamed, Err(ResourceError::NameTaken)));
}

#[tokio::test]
async fn the_same_request_under_a_key_makes_one_thing() {
    let lab = Lab::new().await;
    let new = wanted("disk", "fast", json!({"size": 1}));
    let first = create(&lab, &new, Some("key-1")).await.unwrap();
    assert_eq!(create(&lab, &new, Some("key-1")).await.unwrap(), first);
    let other = create(&lab, &wanted("disk", "fast", json!({"size": 2})), Some("key-1")).await;
    assert!(matches!(other, Err(ResourceError::IdempotencyKeyReused)));
    assert!(matches!(
        create(&lab, &new, Some("")).await,
        Err(ResourceError::Invalid(_))
    ));
    // A request that was refused leaves its key free.
    assert!(matches!(
        create(&lab, &new, Some("key-2")).await,
        Err(ResourceError::NameTaken)
    ));
    create(&lab, &wanted("disk", "slow", json!({})), Some("key-2"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_hundred_requests_at_once_under_one_key_make_one_thing() {
    let lab = std::sync::Arc::new(Lab::new().await);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let lab = lab.clone();
        requests.spawn(async move {
            create(&lab, &wanted("disk", "fast", json!({})), Some("key"))
                .await
                .unwrap()
                .id
        });
    }
    let mut ids = requests.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn lists_are_searched_sorted_and_paged() {
    let lab = Lab::new().await;
    for (kind, name) in [
        ("disk", "beta"),
        ("disk", "Alpha"),
        ("net", "gamma"),
        ("disk", "al%pha"),
    ] {
        create(&lab, &wanted(kind, name, json!({})), None).await.unwrap();
        lab.scope.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let list = async |kind: Option<&str>, search: Option<&str>, sort: Sort, page: (u32, u32)| {
        let query = ResourceQuery {
            kind: kind.map(Into::into),
            search: search.map(Into::into),
            sort,
            page: PageRequest::new(page.0, page.1).unwrap(),
        };
        let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
        let page = service::list(&lab.scope, &mut tx, &query).await.unwrap();
        let names: Vec<String> = page.items.into_iter().map(|item| item.name).collect();
        (names.join(" "), page.total)
    };
    let usual = Sort::default();
    assert_eq!(
        list(None, None, usual, (1, 20)).await,
        ("al%pha gamma Alpha beta".into(), 4)
    );
    assert_eq!(
        list(None, None, Sort::Created, (1, 20)).await.0,
        "beta Alpha gamma al%pha"
    );
    assert_eq!(list(None, None, Sort::Name, (1, 20)).await.0, "al%pha Alpha beta gamma");
    assert_eq!(
        list(None, None, Sort::NameDescending, (1, 2)).await,
        ("gamma beta".into(), 4)
    );
    assert_eq!(
        list(None, None, Sort::NameDescending, (2, 2)).await,
        ("Alpha al%pha".into(), 4)
    );
    assert_eq!(list(Some("net"), None, usual, (1, 20)).await, ("gamma".into(), 1));
    assert_eq!(
        list(None, Some("PHA"), Sort::Name, (1, 20)).await,
        ("al%pha Alpha".into(), 2)
    );
    // A character that means something to LIKE means itself.
    assert_eq!(list(None, Some("%"), usual, (1, 20)).await, ("al%pha".into(), 1));
}

async fn patch(client: &Client, path: &str, body: &Value) -> crate::harness::Answer {
    client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await
}

#[tokio::test]
async fn a_thing_is_made_changed_and_deleted_under_its_tag_and_every_step_is_recorded() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let thing = json!({"type": "disk", "name": "fast", "attributes": {"size": 1, "tags": ["a"]}});
    let created = ada.client.post("/api/v1/resources", &thing).await;
    let body = created.expect(201);
    let path = created.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(path, format!("/api/v1/resources/{}", body["id"].as_str().unwrap()));
    assert_eq!(created.headers["etag"], "\"1\"");
    let seen = |tag: &str| ada.client.with_header("if-match", tag);
    let change = json!({"name": "faster", "attributes": {"size": 2}});
    patch(&seen("\"2\""), &path, &change)
        .await
        .expect_problem(412, "precondition_failed");
    let changed = patch(&seen("\"1\""), &path, &change).await;
    assert_eq!(changed.expect(200)["attributes"], json!({"size": 2}));
    assert_eq!(changed.headers["etag"], "\"2\"");
    // The same once more changes nothing.
    assert_eq!(patch(&ada.client, &path, &change).await.headers["etag"], "\"2\"");
    patch(&seen("\"1\""), &path, &json!({}))
        .await
        .expect_problem(412, "precondition_failed");
    let shown = ada.client.get(&path).await;
    assert_eq!(
        (shown.expect(200)["name"].clone(), &shown.headers["etag"]),
        (json!("faster"), &changed.headers["etag"])
    );
    let refused = seen("\"1\"").delete(&path).await;
    refused.expect_problem(412, "precondition_failed");
    assert_eq!(seen("\"2\"").delete(&path).await.status, 204);
    for answer in [
        ada.client.get(&path).await,
        ada.client.delete(&path).await,
        patch(&ada.client, &path, &change).await,
    ] {
        answer.expect_problem(404, "not_found");
    }
    let log = ada
        .client
        .get(&format!("/api/v1/audit-log?target={}", body["id"].as_str().unwrap()))
        .await
        .expect(200);
    let told: Vec<Value> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["changes"].clone())
        .collect();
    assert_eq!(
        told,
        [
            json!({"type": {"before": "disk", "after": null}, "name": {"before": "faster", "after": null},
                   "attributes.size": {"before": 2, "after": null}}),
            json!({"name": {"before": "fast", "after": "faster"}, "attributes.size": {"before": 1, "after": 2},
                   "attributes.tags": {"before": ["a"], "after": null}}),
            json!({"type": {"before": null, "after": "disk"}, "name": {"before": null, "after": "fast"},
                   "attributes.size": {"before": null, "after": 1}, "attributes.tags": {"before": null, "after": ["a"]}}),
        ]
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_with_its_place_and_nothing_is_written() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let deep = (0..9).fold(json!({}), |inner, _| json!({ "a": inner }));
    for (body, pointer) in [
        (json!({"type": "Disk", "name": "x"}), "/type"),
        (json!({"type": "disk", "name": " "}), "/name"),
        (json!({"type": "disk", "name": "x", "attributes": []}), "/attributes"),
        (
            json!({"type": "disk", "name": "x", "attributes": {"a": "\0"}}),
            "/attributes/a",
        ),
        (
            json!({"type": "disk", "name": "x", "attributes": deep}),
            "/attributes/a/a/a/a/a/a/a/a",
        ),
        (
            json!({"type": "disk", "name": "x", "attributes": {"a": "x".repeat(17_000)}}),
            "/attributes",
        ),
        (json!({"type": "disk", "name": "x", "color": 1}), "/color"),
        (json!({"name": "x"}), "/type"),
    ] {
        let refused = ada.client.post("/api/v1/resources", &body).await;
        let problem = refused.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let listed = ada.client.get("/api/v1/resources?sort=size").await;
    assert_eq!(listed.expect_problem(422, "validation")["errors"][0]["pointer"], "sort");
    let listed = ada.client.get("/api/v1/resources?search=%00").await;
    assert_eq!(
        listed.expect_problem(422, "validation")["errors"][0]["pointer"],
        "search"
    );
    assert_eq!(ada.client.get("/api/v1/resources").await.expect(200)["total"], 0);
}
