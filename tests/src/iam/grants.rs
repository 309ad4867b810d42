//! Grants: nobody gives what they lack, nobody touches who holds more, and an active owner stays.

use bulkhead_iam::{
    Scope,
    grants::service as grants,
    members::{MemberChanges, service as members},
    permissions::Permission,
    roles::RoleError,
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::{IdentityId, RoleId, TenantId},
};
use bulkhead_tenancy::DbError;
use futures_util::future::join_all;

use super::{
    Desk,
    roles::{create, new},
};

pub(super) fn active(is_active: bool) -> MemberChanges {
    MemberChanges::parse(Some(is_active), None, None).unwrap()
}

async fn assign(desk: &Desk, scope: &Scope, member: IdentityId, role: RoleId) -> Result<(), RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    grants::assign(scope, &mut tx, member, &role.to_string()).await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn unassign(desk: &Desk, scope: &Scope, member: IdentityId, role: RoleId) -> Result<(), RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    grants::unassign(scope, &mut tx, member, role).await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn set_holders(desk: &Desk, scope: &Scope, role: RoleId, users: &[IdentityId]) -> Result<(), RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    grants::set_holders(scope, &mut tx, role, users).await?;
    tx.commit().await.unwrap();
    Ok(())
}

/// Every way to touch a member, each in a transaction of its own that is not committed; what refuses it.
async fn touches(desk: &Desk, scope: &Scope, member: IdentityId, role: RoleId) -> Vec<(&'static str, Option<Code>)> {
    let tenant = scope.tenant.id;
    let code = |result: Result<(), Code>| result.err();
    let begin = async || desk.db.tenant(tenant).await.unwrap();
    let mut outcomes = Vec::new();
    for (name, changes) in [
        ("deactivate", active(false)),
        ("rename", MemberChanges::parse(None, Some("New"), None).unwrap()),
    ] {
        let done = members::update(scope, &mut begin().await, member, None, &changes).await;
        outcomes.push((name, code(done.map(drop).map_err(|e| e.code()))));
    }
    let done = members::remove(scope, &mut begin().await, member, None).await;
    outcomes.push(("remove", code(done.map_err(|e| e.code()))));
    let done = grants::unassign(scope, &mut begin().await, member, role).await;
    outcomes.push(("unassign", code(done.map_err(|e| e.code()))));
    let done = grants::set_holders(scope, &mut begin().await, role, &[]).await;
    outcomes.push(("set_holders", code(done.map(drop).map_err(|e| e.code()))));
    outcomes
}

/// What the tenant selector of somebody shows for the tenant.
async fn shown(desk: &Desk, identity: IdentityId, tenant: TenantId) -> Option<(String, String)> {
    let mut connection = desk.test.connect("postgres").await;
    let row = sqlx::query!(
        "SELECT role, status FROM control.memberships WHERE identity_id = $1 AND tenant_id = $2",
        identity.uuid(),
        tenant.uuid(),
    );
    let row = row.fetch_optional(&mut connection).await.unwrap();
    row.map(|row| (row.role, row.status))
}

#[tokio::test]
async fn nobody_gives_a_role_beyond_what_they_hold() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let adam = desk.member(acme, "adam@example.com", &["admin"]).await;
    let bob = desk.member(acme, "bob@example.com", &["viewer"]).await;
    let (owner, admin) = (desk.role(acme, "owner").await, desk.role(acme, "admin").await);
    let (as_adam, as_bob) = (desk.scope(adam, acme).await, desk.scope(bob, acme).await);
    let beyond = assign(&desk, &as_adam, bob, owner).await.unwrap_err();
    assert!(matches!(beyond, RoleError::Exceeds(_)), "{beyond:?}");
    let beyond = assign(&desk, &as_adam, adam, owner).await.unwrap_err();
    assert!(
        matches!(beyond, RoleError::Exceeds(_)),
        "nobody promotes themselves: {beyond:?}"
    );
    let beyond = set_holders(&desk, &as_adam, owner, &[ada, bob]).await.unwrap_err();
    assert!(matches!(beyond, RoleError::Exceeds(_)), "{beyond:?}");
    let refused = assign(&desk, &as_bob, bob, admin).await.unwrap_err();
    assert!(matches!(refused, RoleError::Forbidden(_)), "{refused:?}");
    assign(&desk, &as_adam, bob, admin).await.unwrap();
    assign(&desk, &as_adam, bob, admin).await.unwrap();

    // A giver with the one permission gives nothing they do not hold.
    let giver = create(
        &desk,
        &desk.scope(ada, acme).await,
        &new("Giver", &["role:assign_users"]),
    )
    .await
    .unwrap();
    let carl = desk.member(acme, "carl@example.com", &["Giver"]).await;
    let dora = desk.member(acme, "dora@example.com", &[]).await;
    let as_carl = desk.scope(carl, acme).await;
    let beyond = assign(&desk, &as_carl, dora, desk.role(acme, "viewer").await)
        .await
        .unwrap_err();
    assert!(matches!(beyond, RoleError::Exceeds(_)), "{beyond:?}");
    assign(&desk, &as_carl, dora, giver.id).await.unwrap();

    // What is not there.
    let missing = assign(&desk, &as_adam, IdentityId::new(), admin).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let missing = assign(&desk, &as_adam, bob, RoleId::new()).await.unwrap_err();
    assert_eq!(missing.violations()[0].pointer, "/role_id");
    let missing = unassign(&desk, &as_adam, adam, RoleId::new()).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let missing = set_holders(&desk, &as_adam, giver.id, &[bob, IdentityId::new()])
        .await
        .unwrap_err();
    assert_eq!(missing.violations()[0].pointer, "/user_ids/1");
}

#[tokio::test]
async fn nobody_touches_a_member_who_holds_more() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let adam = desk.member(acme, "adam@example.com", &["admin"]).await;
    let otto = desk.member(acme, "otto@example.com", &["owner", "viewer"]).await;
    let viewer = desk.role(acme, "viewer").await;
    let as_adam = desk.scope(adam, acme).await;
    for status in ["active", "inactive"] {
        let set = format!(
            "UPDATE members SET status = '{status}' WHERE identity_id = '{}'",
            otto.uuid()
        );
        desk.run_in(acme, &set).await;
        for (touch, refused) in touches(&desk, &as_adam, otto, viewer).await {
            assert_eq!(refused, Some(Code::Forbidden), "{touch} of an {status} superior");
        }
        // Letting somebody in again gives them all they kept.
        let mut tx = desk.db.tenant(acme).await.unwrap();
        let refused = members::update(&as_adam, &mut tx, otto, None, &active(true)).await;
        assert_eq!(refused.unwrap_err().code(), Code::Forbidden, "{status}");
        drop(tx);
        let refused = assign(&desk, &as_adam, otto, viewer).await.unwrap_err();
        assert_eq!(refused.code(), Code::Forbidden);
    }
    let peer = desk.member(acme, "peer@example.com", &["admin", "viewer"]).await;
    for (touch, refused) in touches(&desk, &as_adam, peer, viewer).await {
        // Otto has the role as well, so its complete set is beyond an admin.
        let expected = (touch == "set_holders").then_some(Code::Forbidden);
        assert_eq!(refused, expected, "{touch} of a peer");
    }
}

#[tokio::test]
async fn the_last_active_owner_stays() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let owner = desk.role(acme, "owner").await;
    let as_ada = desk.scope(ada, acme).await;
    let last = async || {
        for (touch, refused) in touches(&desk, &as_ada, ada, owner).await {
            let expected = (touch != "rename").then_some(Code::LastOwner);
            assert_eq!(refused, expected, "{touch} of the last owner");
        }
    };
    last().await;
    let otto = desk.member(acme, "otto@example.com", &["owner"]).await;
    desk.run_in(
        acme,
        "UPDATE members SET status = 'inactive' WHERE email = 'otto@example.com'",
    )
    .await;
    last().await;
    desk.run_in(acme, "UPDATE members SET status = 'active'").await;
    set_holders(&desk, &as_ada, owner, &[otto]).await.unwrap();
    let gone = unassign(&desk, &as_ada, otto, owner).await.unwrap_err();
    assert!(
        matches!(gone, RoleError::Forbidden(_)),
        "who gave ownership away has none: {gone:?}"
    );
}

#[tokio::test]
async fn of_two_hundred_mutual_demotions_at_once_an_owner_remains() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let mut owners = vec![ada];
    for index in 1..20 {
        owners.push(
            desk.member(acme, &format!("owner{index}@example.com"), &["owner"])
                .await,
        );
    }
    let owner = desk.role(acme, "owner").await;
    let mut scopes = Vec::new();
    for &id in &owners {
        scopes.push(desk.scope(id, acme).await);
    }
    // Each wants to be none any more and demotes nine others; some by deactivation, some by removal.
    let calls = (0..200).map(|index| {
        let (desk, scope) = (&desk, &scopes[index % 20]);
        let victim = owners[(index % 20 + index / 20) % 20];
        async move {
            let mut tx = desk.db.tenant(acme).await?;
            let done = match index % 3 {
                0 => grants::unassign(scope, &mut tx, victim, owner)
                    .await
                    .map_err(|e| e.code()),
                1 => members::update(scope, &mut tx, victim, None, &active(false))
                    .await
                    .map(drop)
                    .map_err(|e| e.code()),
                _ => members::remove(scope, &mut tx, victim, None)
                    .await
                    .map_err(|e| e.code()),
            };
            if done.is_ok() {
                tx.commit().await?;
            }
            Ok::<_, DbError>(done)
        }
    });
    let outcomes = join_all(calls).await;
    let outcomes: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.map_err(|e| e.to_string()))
        .collect();
    let n_done = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ok(())))).count();
    for outcome in &outcomes {
        let is_expected = match outcome {
            Ok(Ok(())) => true,
            Ok(Err(code)) => [Code::Forbidden, Code::LastOwner, Code::NotFound].contains(code),
            Err(_) => false,
        };
        assert!(is_expected, "{outcome:?}");
    }
    let mut inside = desk.test.look_into(acme).await;
    let left = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM members AS m JOIN member_roles AS g USING (identity_id)
           JOIN roles AS r ON r.id = g.role_id WHERE r.name = 'owner' AND m.status = 'active'"#
    );
    let left = left.fetch_one(&mut inside).await.unwrap();
    assert!(left >= 1, "{n_done} were done and no owner is left");
    assert!(n_done >= 10, "only {n_done} were done, {left} are left");
}

#[tokio::test]
async fn the_index_of_memberships_shows_the_leading_role_and_whether_one_may_enter() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let bob = desk.member(acme, "bob@example.com", &[]).await;
    let as_ada = desk.scope(ada, acme).await;
    create(&desk, &as_ada, &new("Ops", &["vm:read"])).await.unwrap();
    let show = async || shown(&desk, bob, acme).await.unwrap();
    for (role, leading) in [
        ("Ops", "custom"),
        ("viewer", "viewer"),
        ("admin", "admin"),
        ("member", "admin"),
    ] {
        assign(&desk, &as_ada, bob, desk.role(acme, role).await).await.unwrap();
        assert_eq!(show().await, (leading.into(), "active".into()), "with {role}");
    }
    for (role, leading) in [
        ("admin", "member"),
        ("member", "viewer"),
        ("viewer", "custom"),
        ("Ops", "none"),
    ] {
        unassign(&desk, &as_ada, bob, desk.role(acme, role).await)
            .await
            .unwrap();
        assert_eq!(show().await, (leading.into(), "active".into()), "without {role}");
    }
    for is_active in [false, true] {
        let mut tx = desk.db.tenant(acme).await.unwrap();
        members::update(&as_ada, &mut tx, bob, None, &active(is_active))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(show().await.1, if is_active { "active" } else { "inactive" });
    }
    let mut tx = desk.db.tenant(acme).await.unwrap();
    members::remove(&as_ada, &mut tx, bob, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shown(&desk, bob, acme).await, None);
}

#[tokio::test]
async fn who_has_a_role_is_told_to_those_who_may_see_both_users_and_roles() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let owner = desk.role(acme, "owner").await;
    let mut as_ada = desk.scope(ada, acme).await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    assert_eq!(grants::holders(&as_ada, &mut tx, owner).await.unwrap(), [ada]);
    for lone in [Permission::UserRead, Permission::RoleRead] {
        as_ada.permissions = bulkhead_iam::permissions::PermissionSet::of(&[lone]);
        let refused = grants::holders(&as_ada, &mut tx, owner).await.unwrap_err();
        assert_eq!(refused.code(), Code::Forbidden);
    }
}
