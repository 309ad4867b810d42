//! Keys below HTTP: the hot message, what a warm check costs, and the owner's rights.

use std::net::{IpAddr, Ipv4Addr};

use bulkhead_iam::{
    Iam, Scope,
    api_keys::{self, ApiKeyError, Changes, End, KEY_SQL, KeyText, NewKey, Refusal, service},
    permissions::{Permission, PermissionSet},
    relinking,
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::{IdentityId, TenantId},
};
use bulkhead_tenancy::DbMeter;
use chrono::TimeDelta;
use sqlx::Execute;
use tokio::time::Instant;

use super::{Desk, assemble};
use crate::harness::eventually;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn new(owner: &str, scopes: &[&str]) -> NewKey {
    NewKey {
        owner: owner.into(),
        name: "deploy".into(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        allowed_addresses: Vec::new(),
        expires_at: None,
    }
}

/// A tenant, who founded it, and the scope of that person.
async fn acme(desk: &mut Desk) -> (TenantId, IdentityId, Scope) {
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let pair = desk.sign_in("ada@example.com").await;
    let scope = desk.enter(&pair, acme).await.unwrap();
    (acme, ada, scope)
}

async fn mint(desk: &Desk, scope: &Scope, new: &NewKey) -> KeyText {
    let minted = service::create(scope, &desk.iam, new, None).await.unwrap();
    KeyText::parse(&minted.text, "live").ok().unwrap()
}

/// What the key allows in this very moment.
async fn now(iam: &Iam, key: &KeyText) -> Result<PermissionSet, Code> {
    let found = api_keys::authority_now(iam, key, HERE).await;
    found.map(|found| found.permissions()).map_err(|error| error.code())
}

#[tokio::test]
async fn the_hot_message_is_the_checked_statement() {
    let mut desk = Desk::new().await;
    let (acme, ada, scope) = acme(&mut desk).await;
    let key = mint(&desk, &scope, &new("member", &["vm:read"])).await;
    let twin = || {
        sqlx::query!(
            "SELECT k.name, k.owner_kind, k.owner_id, array_to_string(k.scopes, ' ') AS scopes, \
     array_to_string(k.allowed_addresses, ' ') AS allowed, k.secret_hash, k.previous_hash, \
     date_part('epoch', k.previous_until) AS previous_until, date_part('epoch', k.expires_at) AS expires_at, \
     date_part('epoch', k.last_used_at) AS last_used_at, k.revoked_at IS NOT NULL AS is_revoked, \
     EXISTS (SELECT FROM members AS m WHERE m.identity_id = k.owner_id AND m.status = 'active') AS is_owner_active, \
     control.is_account_on(k.owner_id) AS is_account_on, \
     (SELECT string_agg(p.permission, ' ') FROM role_permissions AS p \
      WHERE p.role_id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = k.owner_id))) \
     AS permissions \
     FROM api_keys AS k WHERE k.id = $1",
            key.id.uuid(),
        )
    };
    assert_eq!(twin().sql().as_str(), format!("{KEY_SQL}$1"));
    let mut tx = desk.db.tenant(acme).await.unwrap();
    let row = twin().fetch_one(tx.conn()).await.unwrap();
    assert_eq!((row.owner_id, row.is_owner_active), (Some(ada.uuid()), Some(true)));
    assert_eq!(row.is_account_on, Some(true));
    assert_eq!(row.scopes.as_deref(), Some("vm:read"));
}

/// Prints what a check costs that finds all it needs in memory: docs/adr/0014 names the number.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the number is what the test is run for by hand")]
async fn a_warm_check_asks_the_database_nothing() {
    const CHECKS: u32 = 20_000;
    let mut desk = Desk::new().await;
    let (_, _, scope) = acme(&mut desk).await;
    let minted = service::create(&scope, &desk.iam, &new("member", &["vm:read"]), None)
        .await
        .unwrap();
    let check = async || {
        let key = KeyText::parse(&minted.text, "live").ok().unwrap();
        api_keys::authority(&desk.iam, &key, HERE).await.unwrap().permissions()
    };
    let meter = DbMeter::default();
    let (cold, warm) = meter
        .measure(async {
            check().await;
            let cold = meter.queries();
            check().await;
            (cold, meter.queries())
        })
        .await;
    assert!(cold >= 1);
    // The entry may have got a second old in between; then it was looked at once more.
    assert!(warm <= 2 * cold, "{warm} after {cold}");
    let (began, before) = (Instant::now(), meter.queries());
    let allowed = meter
        .measure(async {
            let mut allowed = PermissionSet::EMPTY;
            for _ in 0..CHECKS {
                allowed = check().await;
            }
            allowed
        })
        .await;
    let took = began.elapsed();
    assert_eq!(allowed, PermissionSet::of(&[Permission::VmRead]));
    let n_looks = meter.queries() - before;
    assert!(n_looks < u64::from(CHECKS) / 10, "{n_looks} looks");
    println!(
        "a warm check takes {:?}, text and all ({n_looks} looks in {took:?})",
        took / CHECKS
    );
}

#[tokio::test]
async fn a_members_key_loses_what_its_owner_loses_and_the_tenants_does_not() {
    let mut desk = Desk::new().await;
    let (acme, _, scope) = acme(&mut desk).await;
    let both = ["vm:read", "vm:create"];
    let (own, tenants) = (
        mint(&desk, &scope, &new("member", &both)).await,
        mint(&desk, &scope, &new("tenant", &both)).await,
    );
    let all = PermissionSet::from_ids(both);
    assert_eq!(now(&desk.iam, &own).await, Ok(all));

    desk.run_in(
        acme,
        "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'viewer')",
    )
    .await;
    assert_eq!(now(&desk.iam, &own).await, Ok(PermissionSet::of(&[Permission::VmRead])));
    desk.run_in(acme, "DELETE FROM member_roles").await;
    assert_eq!(now(&desk.iam, &own).await, Ok(PermissionSet::EMPTY));
    for (off, on) in [
        (
            "UPDATE members SET status = 'inactive'",
            "UPDATE members SET status = 'active'",
        ),
        (
            "UPDATE control.identities SET status = 'disabled'",
            "UPDATE control.identities SET status = 'active'",
        ),
    ] {
        desk.run_in(acme, off).await;
        assert_eq!(now(&desk.iam, &own).await, Err(Code::ApiKeyInvalid), "{off}");
        desk.run_in(acme, on).await;
        assert!(now(&desk.iam, &own).await.is_ok(), "{on}");
    }
    desk.run_in(
        acme,
        "CREATE TABLE gone AS SELECT identity_id, email, first_name, last_name FROM members; DELETE FROM members; \
         INSERT INTO members (identity_id, email, first_name, last_name) SELECT identity_id, email, first_name, last_name FROM gone; \
         INSERT INTO member_roles (identity_id, role_id) SELECT m.identity_id, r.id FROM members AS m, roles AS r",
    )
    .await;
    assert_eq!(
        now(&desk.iam, &own).await,
        Err(Code::ApiKeyInvalid),
        "it does not come back with them"
    );
    assert_eq!(now(&desk.iam, &tenants).await, Ok(all));
}

#[tokio::test]
async fn what_only_people_do_is_not_in_a_key_even_where_its_row_says_so() {
    let mut desk = Desk::new().await;
    let (acme, _, scope) = acme(&mut desk).await;
    for owner in ["member", "tenant"] {
        let key = mint(&desk, &scope, &new(owner, &["vm:read"])).await;
        desk.run_in(
            acme,
            "UPDATE api_keys SET scopes = scopes || ARRAY ['api_key:create', 'role:update', 'vm:fly']",
        )
        .await;
        assert_eq!(now(&desk.iam, &key).await, Ok(PermissionSet::of(&[Permission::VmRead])));
    }
}

#[tokio::test]
async fn a_revocation_bites_here_at_once_and_on_another_process_within_a_second() {
    let mut desk = Desk::new().await;
    let (_, _, scope) = acme(&mut desk).await;
    let minted = service::create(&scope, &desk.iam, &new("tenant", &["vm:read"]), None)
        .await
        .unwrap();
    let key = KeyText::parse(&minted.text, "live").ok().unwrap();
    let (_, elsewhere) = assemble(&desk.settings, &desk.clock);
    for iam in [&desk.iam, &elsewhere] {
        api_keys::authority(iam, &key, HERE).await.unwrap();
    }
    service::revoke(&scope, &desk.iam, minted.key.id, None).await.unwrap();
    service::revoke(&scope, &desk.iam, minted.key.id, None).await.unwrap();
    let refused =
        |found: Result<_, ApiKeyError>| matches!(found.map(|_| ()), Err(ApiKeyError::Refused(Refusal::Revoked)));
    assert!(refused(api_keys::authority(&desk.iam, &key, HERE).await));
    eventually("the revocation bites elsewhere", async || {
        refused(api_keys::authority(&elsewhere, &key, HERE).await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rotated_secret_is_known_at_once_on_a_process_that_remembers_the_old_one() {
    let mut desk = Desk::new().await;
    let (_, _, scope) = acme(&mut desk).await;
    let old = service::create(&scope, &desk.iam, &new("member", &["vm:read"]), None)
        .await
        .unwrap();
    let (_, elsewhere) = assemble(&desk.settings, &desk.clock);
    let read = |text: &str| KeyText::parse(text, "live").ok().unwrap();
    api_keys::authority(&elsewhere, &read(&old.text), HERE).await.unwrap();
    let next = service::rotate(&scope, &desk.iam, old.key.id, 60, None).await.unwrap();
    api_keys::authority(&elsewhere, &read(&next.text), HERE).await.unwrap();
    api_keys::authority(&desk.iam, &read(&old.text), HERE).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(60));
    let over = api_keys::authority(&desk.iam, &read(&old.text), HERE)
        .await
        .unwrap_err();
    assert_eq!(over.code(), Code::ApiKeyInvalid);
    let last = service::rotate(&scope, &desk.iam, old.key.id, 0, None).await.unwrap();
    let over = api_keys::authority(&desk.iam, &read(&next.text), HERE)
        .await
        .unwrap_err();
    assert_eq!(over.code(), Code::ApiKeyInvalid, "without overlap it ends now");
    api_keys::authority(&desk.iam, &read(&last.text), HERE).await.unwrap();
}

#[tokio::test]
async fn an_expired_key_works_again_when_its_end_is_moved() {
    let mut desk = Desk::new().await;
    let (_, _, scope) = acme(&mut desk).await;
    let end = desk.clock.now() + TimeDelta::seconds(10);
    let wanted = NewKey {
        expires_at: Some(end),
        ..new("member", &["vm:read"])
    };
    let minted = service::create(&scope, &desk.iam, &wanted, None).await.unwrap();
    let key = KeyText::parse(&minted.text, "live").ok().unwrap();
    api_keys::authority(&desk.iam, &key, HERE).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(10));
    let over = api_keys::authority(&desk.iam, &key, HERE).await.unwrap_err();
    assert!(
        matches!(over, ApiKeyError::Refused(Refusal::Expired)),
        "what is remembered expires, too"
    );
    let later = Changes {
        expires_at: Some(End(None)),
        ..Changes::default()
    };
    service::update(&scope, &desk.iam, minted.key.id, None, &later)
        .await
        .unwrap();
    api_keys::authority(&desk.iam, &key, HERE).await.unwrap();
}

#[tokio::test]
async fn the_last_use_is_written_together_and_at_most_once_a_minute() {
    let mut desk = Desk::new().await;
    let (acme, _, scope) = acme(&mut desk).await;
    let key = mint(&desk, &scope, &new("member", &["vm:read"])).await;
    let mut inside = desk.test.look_into(acme).await;
    let mut use_and_look = async |desk: &Desk| {
        api_keys::authority_now(&desk.iam, &key, HERE).await.unwrap();
        api_keys::write(&desk.iam).await;
        sqlx::query_scalar!("SELECT last_used_at FROM api_keys")
            .fetch_one(&mut inside)
            .await
            .unwrap()
    };
    let first = desk.clock.now();
    assert_eq!(use_and_look(&desk).await, Some(first));
    desk.clock.advance(TimeDelta::seconds(59));
    assert_eq!(use_and_look(&desk).await, Some(first));
    desk.clock.advance(TimeDelta::seconds(1));
    assert_eq!(use_and_look(&desk).await, Some(desk.clock.now()));
}

#[tokio::test]
async fn a_key_of_a_closed_tenant_says_so_only_to_who_holds_its_secret() {
    let mut desk = Desk::new().await;
    let (acme, _, scope) = acme(&mut desk).await;
    let minted = service::create(&scope, &desk.iam, &new("member", &["vm:read"]), None)
        .await
        .unwrap();
    let key = KeyText::parse(&minted.text, "live").ok().unwrap();
    service::rotate(&scope, &desk.iam, minted.key.id, 0, None)
        .await
        .unwrap();
    let right = service::create(&scope, &desk.iam, &new("member", &["vm:read"]), None)
        .await
        .unwrap();
    let right = KeyText::parse(&right.text, "live").ok().unwrap();
    desk.run("UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1")
        .await;
    assert_eq!(now(&desk.iam, &right).await, Err(Code::TenantNotActive));
    assert_eq!(now(&desk.iam, &key).await, Err(Code::ApiKeyInvalid));
    desk.run(&format!(
        "UPDATE control.tenants SET status = 'pending', suspension = NULL, epoch = epoch + 1 WHERE id = '{}'",
        acme.uuid()
    ))
    .await;
    assert_eq!(now(&desk.iam, &right).await, Err(Code::ApiKeyInvalid));
}

#[tokio::test]
async fn keys_that_come_with_an_archive_are_revoked_and_follow_their_members() {
    let mut desk = Desk::new().await;
    let (acme, _, scope) = acme(&mut desk).await;
    let key = mint(&desk, &scope, &new("member", &["vm:read"])).await;
    desk.run_in(
        acme,
        "WITH moved AS (UPDATE members SET identity_id = '00000000-0000-7000-8000-000000000001') \
         UPDATE member_roles SET identity_id = '00000000-0000-7000-8000-000000000001'",
    )
    .await;
    let mut tx = desk.db.owner().await.unwrap();
    tx.enter_tenant_schema(acme).await.unwrap();
    relinking::service::close_others(&mut tx, acme).await.unwrap();
    tx.commit().await.unwrap();
    let row = sqlx::query!("SELECT owner_id, revoked_reason FROM api_keys")
        .fetch_one(&mut desk.test.look_into(acme).await)
        .await
        .unwrap();
    assert_eq!(row.owner_id, Some(uuid::Uuid::from_u128(0x7000_8000_0000_0000_0001)));
    assert_eq!(row.revoked_reason.as_deref(), Some("imported"));
    assert_eq!(now(&desk.iam, &key).await, Err(Code::ApiKeyInvalid));
}
