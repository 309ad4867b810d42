//! Roles: made and changed of what one holds, never those of the system, never in a way that gives away more.

use std::{fmt::Write as _, path::Path};

use bulkhead_iam::{
    Scope,
    permissions::{Permission, PermissionSet, SystemRole},
    roles::{NewRole, Role, RoleChanges, RoleError, service as roles},
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::{RoleId, TenantId},
};

use super::Desk;

pub(super) fn new(name: &str, permissions: &[&str]) -> NewRole {
    let ids: Vec<String> = permissions.iter().map(|&id| id.to_owned()).collect();
    NewRole::parse(name, "", &ids).unwrap()
}

fn allowing(permissions: &[&str]) -> RoleChanges {
    let ids: Vec<String> = permissions.iter().map(|&id| id.to_owned()).collect();
    RoleChanges::parse(None, None, Some(&ids)).unwrap()
}

fn named(name: &str) -> RoleChanges {
    RoleChanges::parse(Some(name), None, None).unwrap()
}

/// A tenant with an owner and an admin.
async fn company(desk: &Desk) -> (TenantId, Scope, Scope) {
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let adam = desk.member(acme, "adam@example.com", &["admin"]).await;
    (acme, desk.scope(ada, acme).await, desk.scope(adam, acme).await)
}

pub(super) async fn create(desk: &Desk, scope: &Scope, new: &NewRole) -> Result<Role, RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    let role = roles::create(scope, &mut tx, new, None).await?;
    tx.commit().await.unwrap();
    Ok(role)
}

async fn update(desk: &Desk, scope: &Scope, id: RoleId, changes: &RoleChanges) -> Result<Role, RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    let role = roles::update(scope, &mut tx, id, None, changes).await?;
    tx.commit().await.unwrap();
    Ok(role)
}

async fn delete(desk: &Desk, scope: &Scope, id: RoleId) -> Result<(), RoleError> {
    let mut tx = desk.db.tenant(scope.tenant.id).await.unwrap();
    roles::delete(scope, &mut tx, id, None).await?;
    tx.commit().await.unwrap();
    Ok(())
}

fn exceeds(result: Result<Role, RoleError>) -> String {
    match result {
        Err(RoleError::Exceeds(permission)) => permission,
        other => panic!("not refused as beyond: {other:?}"),
    }
}

/// Each permission and the system roles that hold it; `BLESS=1` writes the table anew.
#[test]
fn the_system_roles_allow_what_the_reviewed_table_says() {
    let mut table = String::new();
    for &permission in Permission::ALL {
        let holders = SystemRole::ALL
            .into_iter()
            .filter(|role| role.permissions().contains(permission));
        let holders: Vec<_> = holders.map(SystemRole::as_str).collect();
        writeln!(table, "{permission}: {}", holders.join(" ")).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/iam/roles.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap();
    assert_eq!(table, reviewed, "look at the difference; BLESS=1 writes the table anew");
}

#[tokio::test]
async fn nobody_makes_or_changes_a_role_beyond_what_they_hold() {
    let desk = Desk::new().await;
    let (_, ada, adam) = company(&desk).await;
    let beyond = create(&desk, &adam, &new("Heir", &["vm:read", "tenant:delete"])).await;
    assert_eq!(exceeds(beyond), "tenant:delete");
    let mine = create(&desk, &adam, &new("Ops", &["vm:read"])).await.unwrap();
    let beyond = update(&desk, &adam, mine.id, &allowing(&["tenant:export"])).await;
    assert_eq!(exceeds(beyond), "tenant:export");
    let mut tx = desk.db.tenant(adam.tenant.id).await.unwrap();
    let beyond = roles::add_permissions(&adam, &mut tx, mine.id, None, &["tenant:export".into()], None).await;
    assert_eq!(exceeds(beyond), "tenant:export");
    drop(tx);

    // Nor does anybody touch a role that allows more, not even its name.
    let big = create(&desk, &ada, &new("Archivist", &["tenant:export"]))
        .await
        .unwrap();
    assert_eq!(
        exceeds(update(&desk, &adam, big.id, &named("Nobody")).await),
        "tenant:export"
    );
    assert_eq!(
        exceeds(update(&desk, &adam, big.id, &allowing(&[])).await),
        "tenant:export"
    );
    assert!(matches!(delete(&desk, &adam, big.id).await, Err(RoleError::Exceeds(_))));
    let bigger = update(&desk, &ada, mine.id, &allowing(&["tenant:export"]))
        .await
        .unwrap();
    assert_eq!(
        bigger.permissions.known(),
        PermissionSet::of(&[Permission::TenantExport])
    );
    assert_eq!(bigger.version, mine.version + 1);
}

#[tokio::test]
async fn system_roles_stay_as_they_are() {
    let desk = Desk::new().await;
    let (acme, ada, _) = company(&desk).await;
    for role in SystemRole::ALL {
        let id = desk.role(acme, role.as_str()).await;
        for changes in [named("Boss"), allowing(&["vm:read"]), RoleChanges::default()] {
            let refused = update(&desk, &ada, id, &changes).await.unwrap_err();
            assert_eq!(refused.code(), Code::SystemRole, "{role}");
        }
        assert_eq!(delete(&desk, &ada, id).await.unwrap_err().code(), Code::SystemRole);
    }
}

#[tokio::test]
async fn a_name_is_taken_whatever_its_case() {
    let desk = Desk::new().await;
    let (_, ada, _) = company(&desk).await;
    let ops = create(&desk, &ada, &new("Ops", &[])).await.unwrap();
    create(&desk, &ada, &new("Night", &[])).await.unwrap();
    for name in ["ops", "OPS", "Owner", " ops "] {
        let refused = create(&desk, &ada, &new(name, &[])).await.unwrap_err();
        assert_eq!(refused.code(), Code::NameTaken, "{name}");
    }
    let refused = update(&desk, &ada, ops.id, &named("NIGHT")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NameTaken);
    update(&desk, &ada, ops.id, &named("OPS")).await.unwrap();
}

#[tokio::test]
async fn a_role_that_somebody_has_is_not_deleted_and_the_refusal_says_how_many() {
    let desk = Desk::new().await;
    let (acme, ada, _) = company(&desk).await;
    let ops = create(&desk, &ada, &new("Ops", &["vm:read"])).await.unwrap();
    for email in ["bob@example.com", "carl@example.com"] {
        desk.member(acme, email, &["Ops"]).await;
    }
    desk.run_in(
        acme,
        "UPDATE members SET status = 'inactive' WHERE email = 'carl@example.com'",
    )
    .await;
    let refused = delete(&desk, &ada, ops.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::RoleAssigned);
    assert_eq!(refused.detail(), "The role is still assigned to 2 users.");
    desk.run_in(
        acme,
        "DELETE FROM member_roles AS g USING roles AS r WHERE r.id = g.role_id AND r.name = 'Ops'",
    )
    .await;
    delete(&desk, &ada, ops.id).await.unwrap();
    assert_eq!(delete(&desk, &ada, ops.id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_change_of_a_version_that_is_over_is_refused() {
    let desk = Desk::new().await;
    let (acme, ada, _) = company(&desk).await;
    let first = create(&desk, &ada, &new("Ops", &["vm:read"])).await.unwrap();
    let second = update(&desk, &ada, first.id, &named("Ops 2")).await.unwrap();
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let late = roles::update(&ada, &mut tx, first.id, Some(&[first.version]), &named("Ops 3")).await;
    assert_eq!(late.unwrap_err().code(), Code::PreconditionFailed);
    let late = roles::delete(&ada, &mut tx, first.id, Some(&[])).await;
    assert_eq!(late.unwrap_err().code(), Code::PreconditionFailed);
    let same = roles::update(&ada, &mut tx, first.id, Some(&[second.version]), &named("Ops 2"))
        .await
        .unwrap();
    assert_eq!(
        same.version, second.version,
        "a change that changes nothing makes no version"
    );
    roles::delete(&ada, &mut tx, first.id, Some(&[7, second.version]))
        .await
        .unwrap();
}

#[tokio::test]
async fn permissions_are_added_and_taken_one_by_one() {
    let desk = Desk::new().await;
    let (acme, ada, _) = company(&desk).await;
    let ops = create(&desk, &ada, &new("Ops", &["vm:read"])).await.unwrap();
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let unknown = roles::add_permissions(&ada, &mut tx, ops.id, None, &["vm:read".into(), "vm:fly".into()], None).await;
    assert_eq!(unknown.unwrap_err().violations()[0].pointer, "/permission_ids/1");
    let more = roles::add_permissions(&ada, &mut tx, ops.id, None, &["vm:create".into()], None)
        .await
        .unwrap();
    assert_eq!(more.permissions.ids().collect::<Vec<_>>(), ["vm:read", "vm:create"]);
    let less = roles::remove_permission(&ada, &mut tx, ops.id, None, Permission::VmRead)
        .await
        .unwrap();
    assert_eq!(less.permissions.ids().collect::<Vec<_>>(), ["vm:create"]);
    let again = roles::remove_permission(&ada, &mut tx, ops.id, None, Permission::VmRead).await;
    assert_eq!(again.unwrap_err().code(), Code::NotFound);
    assert_eq!(roles::get(&ada, &mut tx, ops.id).await.unwrap(), less);
}

#[tokio::test]
async fn what_only_a_newer_release_knows_is_given_by_nobody_who_lacks_it() {
    let desk = Desk::new().await;
    let (acme, ada, _) = company(&desk).await;
    let pilot = create(&desk, &ada, &new("Pilot", &["vm:read"])).await.unwrap();
    desk.run_in(
        acme,
        "INSERT INTO role_permissions SELECT id, 'vm:fly' FROM roles WHERE name = 'Pilot'",
    )
    .await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let beyond = roles::require_grantable(&ada, &mut tx, &[pilot.id]).await;
    assert!(
        matches!(beyond, Err(RoleError::Exceeds(ref id)) if id == "vm:fly"),
        "{beyond:?}"
    );
    drop(tx);
    desk.run_in(
        acme,
        "INSERT INTO role_permissions SELECT id, 'vm:fly' FROM roles WHERE name = 'owner'",
    )
    .await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    roles::require_grantable(&ada, &mut tx, &[pilot.id]).await.unwrap();
}

#[tokio::test]
async fn what_may_be_given_is_judged_by_who_gives_it_in_that_very_moment() {
    let desk = Desk::new().await;
    let (acme, ada, adam) = company(&desk).await;
    let (owner, viewer) = (desk.role(acme, "owner").await, desk.role(acme, "viewer").await);
    let giver = adam.person().unwrap().identity;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let unknown = roles::require_grantable(&ada, &mut tx, &[owner, RoleId::new()])
        .await
        .unwrap_err();
    assert_eq!(unknown.violations()[0].pointer, "/role_ids/1");
    let beyond = roles::require_grantable(&adam, &mut tx, &[viewer, owner])
        .await
        .unwrap_err();
    assert_eq!(beyond.code(), Code::Forbidden);
    let found = roles::require_grantable(&ada, &mut tx, &[viewer, owner]).await.unwrap();
    assert_eq!(found.iter().map(|role| role.id).collect::<Vec<_>>(), [viewer, owner]);
    roles::require_grantable_by(&mut tx, giver, &[viewer]).await.unwrap();
    roles::require_held(&adam, &mut tx, PermissionSet::of(&[Permission::VmRead]))
        .await
        .unwrap();
    let beyond = roles::require_held(&adam, &mut tx, PermissionSet::ALL).await;
    assert_eq!(beyond.unwrap_err().code(), Code::Forbidden);
    let held = roles::held_by(&mut tx, giver).await.unwrap().unwrap();
    assert_eq!(held.known(), SystemRole::Admin.permissions());
    drop(tx);

    desk.run_in(
        acme,
        "DELETE FROM member_roles AS g USING roles AS r WHERE r.id = g.role_id AND r.name = 'admin'",
    )
    .await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let demoted = roles::require_grantable_by(&mut tx, giver, &[viewer])
        .await
        .unwrap_err();
    assert!(matches!(demoted, RoleError::Exceeds(_)), "{demoted:?}");
    let demoted = roles::create(&adam, &mut tx, &new("Ops", &[]), None).await.unwrap_err();
    assert!(matches!(demoted, RoleError::Forbidden(_)), "{demoted:?}");
    drop(tx);
    desk.run_in(
        acme,
        "UPDATE members SET status = 'inactive' WHERE email = 'adam@example.com'",
    )
    .await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let gone = roles::require_grantable_by(&mut tx, giver, &[]).await.unwrap_err();
    assert!(matches!(gone, RoleError::GranterGone), "{gone:?}");
    assert!(roles::held_by(&mut tx, giver).await.unwrap().is_none());
}

#[tokio::test]
async fn a_principal_who_may_do_less_than_the_person_gives_no_more_than_that() {
    let desk = Desk::new().await;
    let (acme, mut ada, _) = company(&desk).await;
    let viewer = desk.role(acme, "viewer").await;
    ada.permissions = PermissionSet::of(&[Permission::RoleCreate, Permission::VmRead]);
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let beyond = roles::require_grantable(&ada, &mut tx, &[viewer]).await.unwrap_err();
    assert!(matches!(beyond, RoleError::Exceeds(_)), "{beyond:?}");
    roles::create(&ada, &mut tx, &new("Eyes", &["vm:read"]), None)
        .await
        .unwrap();
    let beyond = roles::create(&ada, &mut tx, &new("Hands", &["vm:create"]), None)
        .await
        .unwrap_err();
    assert!(matches!(beyond, RoleError::Exceeds(_)), "{beyond:?}");
}
