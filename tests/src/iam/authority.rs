//! What a request may do: read from the tenant's rows, hidden from outsiders, gone when it is taken away.

use std::time::{Duration, Instant};

use bulkhead_iam::{
    members::{AUTHORITY_SQL, MemberError, service as members},
    permissions::{Permission, PermissionSet, SystemRole},
    roles,
    sessions::service as sessions,
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::TenantId,
};
use bulkhead_tenancy::DbError;
use sqlx::Execute;

use super::Desk;
use crate::harness::{PASSWORD, eventually};

#[tokio::test]
async fn a_member_may_what_the_roles_allow_together() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let pair = desk.sign_in("ada@example.com").await;
    let scope = desk.enter(&pair, acme).await.unwrap();
    assert_eq!(
        (scope.roles.as_slice(), scope.permissions),
        (["owner".to_owned()].as_slice(), PermissionSet::ALL)
    );
    let person = scope.person().unwrap();
    assert_eq!((person.identity, person.email.as_str()), (ada, "ada@example.com"));

    desk.run_in(acme, "DELETE FROM member_roles").await;
    let scope = desk.enter(&pair, acme).await.unwrap();
    assert_eq!((scope.roles.len(), scope.permissions), (0, PermissionSet::EMPTY));
    assert_eq!(scope.require(Permission::VmRead).unwrap_err().code(), Code::Forbidden);

    for role in ["viewer", "member"] {
        desk.run_in(
            acme,
            &format!(
                "INSERT INTO member_roles SELECT m.identity_id, r.id FROM members m, roles r WHERE r.name = '{role}'"
            ),
        )
        .await;
    }
    let scope = desk.enter(&pair, acme).await.unwrap();
    assert_eq!(scope.roles, ["member", "viewer"]);
    assert_eq!(scope.permissions, SystemRole::Member.permissions());
    scope.require(Permission::VmCreate).unwrap();
}

#[tokio::test]
async fn outsiders_and_former_members_find_no_tenant() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    desk.register("bob@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let (ada, bob) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("bob@example.com").await,
    );
    let code = |refused: MemberError| refused.code();

    assert_eq!(code(desk.enter(&bob, acme).await.unwrap_err()), Code::TenantNotFound);
    assert_eq!(
        code(desk.enter(&bob, TenantId::new()).await.unwrap_err()),
        Code::TenantNotFound
    );
    desk.run_in(acme, "UPDATE members SET status = 'inactive'").await;
    assert_eq!(code(desk.enter(&ada, acme).await.unwrap_err()), Code::TenantNotFound);
    desk.run("UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1")
        .await;
    assert_eq!(code(desk.enter(&bob, acme).await.unwrap_err()), Code::TenantNotFound);
    assert_eq!(code(desk.enter(&ada, acme).await.unwrap_err()), Code::TenantNotActive);
}

#[tokio::test]
async fn an_ended_session_opens_no_tenant() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let (here, there) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
    );
    let look = async |desk: &Desk| members::authority(&desk.iam, acme, ada, here.session).await.map(|_| ());

    look(&desk).await.unwrap();
    sessions::sign_out(&desk.iam, here.session).await.unwrap();
    let refused = look(&desk).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::SessionEnded,
        "at once on the process that signed out"
    );
    desk.enter(&there, acme).await.unwrap();
    desk.run("UPDATE control.identities SET status = 'disabled'").await;
    assert_eq!(desk.enter(&there, acme).await.unwrap_err().code(), Code::SessionEnded);
}

#[tokio::test]
async fn what_another_process_takes_away_is_gone_within_a_second() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let pair = desk.sign_in("ada@example.com").await;
    let look = async || members::authority(&desk.iam, acme, ada, pair.session).await;
    assert_eq!(look().await.unwrap().permissions, PermissionSet::ALL);
    desk.run_in(acme, "DELETE FROM member_roles").await;
    let taken = Instant::now();
    eventually("the demotion bites", async || {
        (look().await.unwrap().permissions == PermissionSet::EMPTY).then_some(())
    })
    .await;
    assert!(taken.elapsed() < Duration::from_secs(2), "{:?}", taken.elapsed());
}

/// The message that is built at run time says what this statement says, which the compiler has checked.
#[tokio::test]
async fn the_hot_message_is_the_checked_statement() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let pair = desk.sign_in("ada@example.com").await;
    let twin = || {
        sqlx::query!(
            "SELECT m.email, m.first_name, m.last_name, control.is_session_live($1, $2) AS is_session_live, \
         (SELECT string_agg(r.name, chr(10) ORDER BY r.name) FROM roles AS r \
         WHERE r.id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = m.identity_id))) AS roles, \
         (SELECT string_agg(p.permission, ' ') FROM role_permissions AS p \
         WHERE p.role_id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = m.identity_id))) \
         AS permissions \
         FROM members AS m WHERE m.status = 'active' AND m.identity_id = $3",
            pair.session.uuid(),
            desk.clock.now(),
            ada.uuid(),
        )
    };
    let [select, comma, from, end] = AUTHORITY_SQL;
    let hot = format!("{select}$1{comma}$2{from}$3{end}");
    assert_eq!(twin().sql().as_str(), hot);
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let row = twin().fetch_one(tx.conn()).await.unwrap();
    assert_eq!(
        (row.email.as_str(), row.is_session_live),
        ("ada@example.com", Some(true))
    );
    let authority = members::authority(&desk.iam, acme, ada, pair.session).await.unwrap();
    assert_eq!(row.roles.as_deref(), Some("owner"));
    assert_eq!(
        PermissionSet::from_ids(row.permissions.unwrap().split(' ')),
        authority.permissions
    );
}

#[tokio::test]
async fn seeding_again_brings_a_tenant_to_this_releases_permissions() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    desk.run_in(
        acme,
        "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), 'night shift', '', false); \
         INSERT INTO role_permissions SELECT id, 'vm:fly' FROM roles; \
         DELETE FROM role_permissions WHERE permission = 'vm:read'",
    )
    .await;
    let mut tx = desk.db.owner().await.unwrap();
    tx.enter_tenant_schema(acme).await.unwrap();
    roles::service::seed(&mut tx).await.unwrap();
    members::add_owner(&mut tx, ada).await.unwrap();
    tx.commit().await.unwrap();
    let mut connection = desk.test.look_into(acme).await;
    let rows = sqlx::query!(
        r#"
        SELECT r.name, array_agg(p.permission) AS "permissions!"
        FROM roles AS r
                 JOIN role_permissions AS p ON p.role_id = r.id
        GROUP BY r.name
        "#
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let expected = SystemRole::ALL.into_iter().find(|role| role.as_str() == row.name);
        let expected: Vec<_> = match expected {
            Some(role) => role
                .permissions()
                .iter()
                .map(|permission| permission.as_str())
                .collect(),
            None => vec!["vm:fly"],
        };
        let mut permissions = row.permissions;
        permissions.sort_unstable();
        let mut expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        expected.sort_unstable();
        assert_eq!(permissions, expected, "{}", row.name);
    }
    let pair = desk.try_sign_in("ada@example.com", PASSWORD, None).await.ok().unwrap();
    assert_eq!(desk.enter(&pair, acme).await.unwrap().roles, ["owner"]);
}

#[tokio::test]
async fn no_role_may_look_like_another() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let lookalike = sqlx::query!(
        "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), 'Owner', '', false)"
    );
    let refused = DbError::from(lookalike.execute(tx.conn()).await.unwrap_err());
    assert_eq!(refused.constraint(), Some("roles_name_key"));
}
