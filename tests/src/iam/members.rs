//! The list of members.

use bulkhead_iam::{Scope, members::service as members};
use bulkhead_kernel::{
    fault::{Code, Fault},
    page::PageRequest,
};

use super::Desk;

async fn addresses(desk: &Desk, scope: &Scope, search: Option<&str>, page: u32, limit: u32) -> (Vec<String>, i64) {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    let request = PageRequest::new(page, limit).unwrap();
    let found = members::list(scope, &mut tx, search, request).await.unwrap();
    (
        found.items.into_iter().map(|member| member.email).collect(),
        found.total,
    )
}

#[tokio::test]
async fn members_are_listed_searched_and_paged_with_their_roles() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let bob = desk.register("bob@example.com").await;
    desk.tenant("globex", bob).await;
    desk.run_in(
        acme,
        "INSERT INTO members (identity_id, email, first_name, last_name, status) VALUES \
         (gen_random_uuid(), 'carl@100%.example', 'Carl', 'Under_score', 'inactive'), \
         (gen_random_uuid(), 'dora@example.com', 'Dora', 'Back\\slash', 'active')",
    )
    .await;
    let pair = desk
        .try_sign_in("ada@example.com", crate::harness::PASSWORD, None)
        .await
        .ok()
        .unwrap();
    let scope = desk.enter(&pair, acme).await.unwrap();

    let mut tx = desk.db.tenant(acme).await.unwrap();
    let first = members::list(&scope, &mut tx, None, PageRequest::new(1, 2).unwrap())
        .await
        .unwrap();
    drop(tx);
    let [owner, carl] = &first.items[..] else {
        panic!("two members")
    };
    assert_eq!(
        (owner.id, owner.is_active, owner.roles.as_slice()),
        (ada, true, ["owner".to_owned()].as_slice())
    );
    assert_eq!(
        (carl.first_name.as_str(), carl.is_active, carl.roles.len()),
        ("Carl", false, 0)
    );
    assert_eq!(first.total, 3);
    let list = async |search, page| addresses(&desk, &scope, search, page, 2).await;
    assert_eq!(list(None, 2).await, (vec!["dora@example.com".to_owned()], 3));
    assert_eq!(list(None, 3).await, (vec![], 3));

    for (search, found) in [
        ("DORA", 1),
        ("example", 3),
        ("lovelace", 1),
        ("ada love", 1),
        ("bob", 0),
        ("%", 1),
        ("_", 1),
        ("\\", 1),
        ("'; DROP TABLE members; --", 0),
        ("", 3),
    ] {
        assert_eq!(list(Some(search), 1).await.1, found, "{search:?}");
    }
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let refused = members::list(&scope, &mut tx, Some("nul\0"), PageRequest::new(1, 2).unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Validation);
}

#[tokio::test]
async fn whoever_may_not_read_users_sees_none() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    desk.run_in(acme, "DELETE FROM role_permissions WHERE permission = 'user:read'")
        .await;
    let pair = desk.sign_in("ada@example.com").await;
    let scope = desk.enter(&pair, acme).await.unwrap();
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let refused = members::list(&scope, &mut tx, None, PageRequest::new(1, 20).unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
}
