//! Members: added by address without telling whether it was known, changed, removed, and each of it recorded.

use bulkhead_iam::{
    Scope,
    grants::service as grants,
    members::{Member, MemberChanges, MemberError, NewMember, service as members},
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::{IdentityId, TenantId},
};

use super::{
    Desk,
    grants::active,
    roles::{create, new},
};

fn somebody(email: &str, roles: &[String]) -> NewMember {
    NewMember::parse(email, "New", "Body", roles).unwrap()
}

async fn add(desk: &Desk, scope: &Scope, email: &str, roles: &[String]) -> Result<Member, MemberError> {
    members::add(scope, &desk.iam, &somebody(email, roles), None).await
}

async fn update(desk: &Desk, scope: &Scope, id: IdentityId, changes: &MemberChanges) -> Result<Member, MemberError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    let member = members::update(scope, &mut tx, id, None, changes).await?;
    tx.commit().await.unwrap();
    Ok(member)
}

/// What the mails that wait say, by whom they go to.
async fn mails(desk: &Desk, to: IdentityId) -> Vec<String> {
    let mut connection = desk.test.connect("postgres").await;
    let rows = sqlx::query_scalar!(
        r#"SELECT payload ->> 'template' AS "template!" FROM control.jobs
           WHERE kind = 'mail.send' AND payload ->> 'to' = $1 ORDER BY created_at, id"#,
        to.to_string(),
    );
    rows.fetch_all(&mut connection).await.unwrap()
}

async fn actions(desk: &Desk, tenant: TenantId) -> Vec<String> {
    let mut connection = desk.test.look_into(tenant).await;
    let rows = sqlx::query_scalar!("SELECT action FROM audit_events ORDER BY id");
    rows.fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn adding_is_refused_to_who_may_not_and_leaves_no_identity() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let adam = desk.member(acme, "adam@example.com", &["admin"]).await;
    let bob = desk.member(acme, "bob@example.com", &["member"]).await;
    let (as_ada, as_adam) = (desk.scope(ada, acme).await, desk.scope(adam, acme).await);
    let owner = desk.role(acme, "owner").await.to_string();
    let viewer = desk.role(acme, "viewer").await.to_string();
    let code = |refused: Result<Member, MemberError>| refused.unwrap_err().code();
    assert_eq!(
        code(add(&desk, &desk.scope(bob, acme).await, "eve@example.com", &[]).await),
        Code::Forbidden
    );
    assert_eq!(
        code(add(&desk, &as_adam, "eve@example.com", &[owner]).await),
        Code::Forbidden
    );
    let missing = format!("rol_{}", "0".repeat(32));
    let unknown = add(&desk, &as_adam, "eve@example.com", &[viewer, missing])
        .await
        .unwrap_err();
    assert_eq!(unknown.violations()[0].pointer, "/role_ids/1");
    assert_eq!(
        code(add(&desk, &as_ada, "BOB@example.com", &[]).await),
        Code::AlreadyMember
    );

    // Adding alone does not give roles, not even those that allow what one holds.
    create(&desk, &as_ada, &new("Porter", &["user:create", "vm:read"]))
        .await
        .unwrap();
    let eyes = create(&desk, &as_ada, &new("Eyes", &["vm:read"])).await.unwrap();
    let porter = desk.member(acme, "porter@example.com", &["Porter"]).await;
    let as_porter = desk.scope(porter, acme).await;
    assert_eq!(
        code(add(&desk, &as_porter, "eve@example.com", &[eyes.id.to_string()]).await),
        Code::Forbidden
    );
    let mut connection = desk.test.connect("postgres").await;
    let eve = sqlx::query_scalar!("SELECT id FROM control.identities WHERE email = 'eve@example.com'");
    assert_eq!(eve.fetch_optional(&mut connection).await.unwrap(), None);
    add(&desk, &as_porter, "eve@example.com", &[]).await.unwrap();
}

/// Somebody registers a colleague's address with a password of their own and waits until it is added.
#[tokio::test]
async fn a_password_that_was_set_before_the_address_was_proved_opens_no_tenant() {
    let desk = Desk::with(&[("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let as_ada = desk.scope(ada, acme).await;
    let (squatted, proved) = (
        desk.register("squatted@example.com").await,
        desk.register("proved@example.com").await,
    );
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query!(
        "UPDATE control.identities SET email_verified_at = now() WHERE id = $1",
        proved.uuid()
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for email in ["squatted@example.com", "proved@example.com"] {
        add(&desk, &as_ada, email, &[]).await.unwrap();
    }
    let mut has_password = Vec::new();
    for id in [squatted, proved] {
        let found = sqlx::query_scalar!(
            r#"SELECT password_hash IS NOT NULL AS "has_one!" FROM control.identities WHERE id = $1"#,
            id.uuid(),
        );
        has_password.push(found.fetch_one(&mut connection).await.unwrap());
    }
    assert_eq!(has_password, [false, true]);
}

#[tokio::test]
async fn a_known_and_an_unknown_address_are_added_alike() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let known = desk.register("known@example.com").await;
    let as_ada = desk.scope(ada, acme).await;
    let viewer = desk.role(acme, "viewer").await.to_string();
    let mut answers = Vec::new();
    for email in ["known@example.com", "unknown@example.com"] {
        let member = add(&desk, &as_ada, email, std::slice::from_ref(&viewer)).await.unwrap();
        assert_eq!(member.id.uuid().get_version_num(), 4, "the id of {email} tells a time");
        let mut tx = desk.db.tenant(acme).await.unwrap();
        assert_eq!(members::get(&as_ada, &mut tx, member.id).await.unwrap(), member);
        answers.push(member);
    }
    let [first, second] = &answers[..] else { panic!("two") };
    assert_eq!(first.id, known);
    let blank = |member: &Member| Member {
        id: known,
        email: String::new(),
        ..member.clone()
    };
    // Also the names are what was sent, not what the person is called elsewhere.
    assert_eq!(blank(first), blank(second));
    assert_eq!(
        (first.first_name.as_str(), first.roles.as_slice()),
        ("New", ["viewer".to_owned()].as_slice())
    );
    assert_eq!(mails(&desk, first.id).await, ["account_created", "member_added"]);
    assert_eq!(mails(&desk, second.id).await, ["account_created"]);
    let mut connection = desk.test.connect("postgres").await;
    let row = sqlx::query!(
        r#"SELECT i.password_hash, i.email_verified_at, m.role, m.status FROM control.identities AS i
           JOIN control.memberships AS m ON m.identity_id = i.id WHERE i.id = $1"#,
        second.id.uuid(),
    );
    let row = row.fetch_one(&mut connection).await.unwrap();
    assert!(row.password_hash.is_none() && row.email_verified_at.is_none());
    assert_eq!((row.role.as_str(), row.status.as_str()), ("viewer", "active"));
    let me = bulkhead_iam::identities::service::me(&desk.iam, known).await.unwrap();
    assert_eq!(me.first_name, "Ada", "a tenant renames nobody elsewhere");
}

#[tokio::test]
async fn who_was_deactivated_or_removed_is_let_in_again() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let as_ada = desk.scope(ada, acme).await;
    let bob = desk.member(acme, "bob@example.com", &["member"]).await;
    let viewer = desk.role(acme, "viewer").await.to_string();
    update(&desk, &as_ada, bob, &active(false)).await.unwrap();
    let again = add(&desk, &as_ada, "bob@example.com", std::slice::from_ref(&viewer))
        .await
        .unwrap();
    assert_eq!((again.id, again.is_active), (bob, true));
    assert_eq!(again.roles, ["member", "viewer"]);
    let mut tx = desk.db.tenant(acme).await.unwrap();
    members::remove(&as_ada, &mut tx, bob, None).await.unwrap();
    tx.commit().await.unwrap();
    let again = add(&desk, &as_ada, "bob@example.com", &[viewer]).await.unwrap();
    assert_eq!((again.id, again.roles), (bob, vec!["viewer".to_owned()]));

    // An admin cannot let an owner in.
    let adam = desk.member(acme, "adam@example.com", &["admin"]).await;
    desk.member(acme, "otto@example.com", &["owner"]).await;
    desk.run_in(
        acme,
        "UPDATE members SET status = 'inactive' WHERE email = 'otto@example.com'",
    )
    .await;
    let refused = add(&desk, &desk.scope(adam, acme).await, "otto@example.com", &[]).await;
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
}

#[tokio::test]
async fn a_member_who_is_nobody_here_is_not_let_in() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let as_ada = desk.scope(ada, acme).await;
    let ghost = IdentityId::new();
    let insert = format!(
        "INSERT INTO members (identity_id, email, first_name, last_name, status) \
         VALUES ('{}', 'ghost@example.com', 'G', 'H', 'inactive')",
        ghost.uuid()
    );
    desk.run_in(acme, &insert).await;
    let renamed = MemberChanges::parse(None, Some("Old"), None).unwrap();
    assert_eq!(update(&desk, &as_ada, ghost, &renamed).await.unwrap().first_name, "Old");
    let refused = update(&desk, &as_ada, ghost, &active(true)).await.unwrap_err();
    assert_eq!(refused.code(), Code::MemberUnlinked);
    let taken = add(&desk, &as_ada, "ghost@example.com", &[]).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyMember);
}

#[tokio::test]
async fn every_change_is_recorded_once_and_a_change_of_nothing_is_not() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let as_ada = desk.scope(ada, acme).await;
    let role = create(&desk, &as_ada, &new("Ops", &["vm:read"])).await.unwrap();
    let bob = add(&desk, &as_ada, "bob@example.com", &[]).await.unwrap().id;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    for _ in 0..2 {
        grants::assign(&as_ada, &mut tx, bob, &role.id.to_string())
            .await
            .unwrap();
        grants::set_holders(&as_ada, &mut tx, role.id, &[bob]).await.unwrap();
        members::update(&as_ada, &mut tx, bob, None, &active(false))
            .await
            .unwrap();
    }
    grants::unassign(&as_ada, &mut tx, bob, role.id).await.unwrap();
    grants::set_holders(&as_ada, &mut tx, role.id, &[ada]).await.unwrap();
    grants::set_holders(&as_ada, &mut tx, role.id, &[]).await.unwrap();
    let more = ["vm:create".to_owned()];
    bulkhead_iam::roles::service::add_permissions(&as_ada, &mut tx, role.id, None, &more, None)
        .await
        .unwrap();
    bulkhead_iam::roles::service::delete(&as_ada, &mut tx, role.id, None)
        .await
        .unwrap();
    members::remove(&as_ada, &mut tx, bob, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        actions(&desk, acme).await,
        [
            "role.create",
            "user.create",
            "role.assign",
            "user.update",
            "role.unassign",
            "role.set_users",
            "role.set_users",
            "role.update",
            "role.delete",
            "user.delete"
        ]
    );
}
