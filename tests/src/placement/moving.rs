//! Moves that nobody disturbs, and what is refused.

use bulkhead_jobs::{Owner, enqueue_for};
use bulkhead_kernel::{
    fault::{Code, Fault as _},
    ids::{IdentityId, MoveId, TenantId, VmId},
};
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{Cluster, Db, DbError, DbMeter, Message, TenantSelector};
use bulkhead_tenants::{Reason, Suspension};
use bulkhead_tenants::{
    lifecycle, moves,
    moves::{CARRIED, MoveState, STAYS},
};

use super::{Pair, cluster_b, is_gone, origin, rows, text};
use crate::harness::{TestDb, run};

const COUNT: &str = "SELECT count(*) FROM members";

/// Reads and writes as a request does.
async fn write(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    let work = async {
        let mut tx = db.tenant(tenant).await?;
        let insert = "INSERT INTO members (identity_id, email, first_name, last_name) \
                      VALUES (gen_random_uuid(), gen_random_uuid() || '@example.com', 'A', 'B')";
        sqlx::query(insert).execute(tx.conn()).await?;
        tx.commit().await
    };
    DbMeter::default().measure(work).await
}

async fn count(db: &Db, tenant: TenantId) -> i64 {
    let rows = db.read(tenant, &Message::new().sql(COUNT)).await.unwrap();
    sqlx::Row::get(&rows[0][0], 0)
}

#[tokio::test]
async fn every_shared_table_either_goes_with_its_tenant_or_stays_for_a_reason() {
    let db = TestDb::new().await.db(&[]);
    let mut tx = db.owner().await.unwrap();
    let known = tx.list_shared_tables().await.unwrap();
    let purge = ["purge_receipts", "purge_steps"].map(str::to_owned);
    let mut known: Vec<String> = known.into_iter().chain(purge).collect();
    let mut told: Vec<String> = CARRIED.iter().map(|name| (*name).to_owned()).collect();
    told.extend(STAYS.iter().map(|(name, _)| (*name).to_owned()));
    known.sort();
    told.sort();
    assert_eq!(known, told, "give a new table a line in CARRIED or in STAYS");
}

#[tokio::test]
async fn a_tenant_moves_there_and_back_with_every_row() {
    let pair = Pair::new().await;
    let (tenant, other) = (pair.tenant("acme").await, pair.tenant("bolt").await);
    let job = SendMail {
        to: IdentityId::new(),
        template: Template::AccountCreated,
    };
    let mut tx = pair.db.control().await.unwrap();
    enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), &job)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let vm = format!(
        "INSERT INTO control.vm_work (vm_id, tenant_id, provider_identity, due_at, lease_epoch) \
         VALUES ('{}', '{}', 'bh-1', '2026-01-01T00:00:00Z', 7)",
        VmId::new().uuid(),
        tenant.uuid()
    );
    run(&mut pair.home.connect("postgres").await, &vm).await;
    let before = rows(&pair.home, tenant).await;
    let beside = rows(&pair.home, other).await;
    let shared = format!(
        "SELECT (SELECT string_agg(kind || state || attempt || is_parked, ',') FROM control.jobs WHERE tenant_id = '{id}') \
             || (SELECT string_agg(vm_id || provider_identity || due_at || lease_epoch || is_parked, ',') \
                 FROM control.vm_work WHERE tenant_id = '{id}')",
        id = tenant.uuid()
    );
    let shared_before = text(&mut pair.home.connect("postgres").await, &shared).await;
    for (from, to) in [(Cluster::home(), cluster_b()), (cluster_b(), Cluster::home())] {
        let moved = pair.moved(tenant, &to).await;
        assert_eq!(moved.state, MoveState::Done, "{moved:?}");
        assert_eq!(moved.n_rows, 500, "{moved:?}");
        assert!(moved.frozen_at < moved.thawed_at && moved.thawed_at < moved.finished_at);
        assert_eq!(rows(pair.at(&to), tenant).await, before);
        assert!(is_gone(pair.at(&from), tenant).await);
        assert_eq!(pair.place(tenant).await, to);
        // The sweep of the cluster frees what waited.
        super::interrupted::settle(&pair, &to).await;
        assert_eq!(
            text(&mut pair.at(&to).connect("postgres").await, &shared).await,
            shared_before
        );
    }
    assert_eq!(rows(&pair.home, other).await, beside);
}

#[tokio::test]
async fn a_router_that_is_behind_is_led_to_the_new_place_and_never_writes_to_the_old_one() {
    let pair = Pair::new().await;
    let (tenant, second) = (pair.tenant("acme").await, pair.another());
    let known = second.resolve(&TenantSelector::Id(tenant)).await.unwrap();
    assert_eq!((known.cluster.clone(), count(&second, tenant).await), (None, 200));
    pair.moved(tenant, &cluster_b()).await;
    write(&second, tenant).await.unwrap();
    assert_eq!(count(&second, tenant).await, 201);
    assert_eq!(rows(&pair.b, tenant).await["members"].get(..3), Some("201"));
    assert_eq!(
        second.resolve(&TenantSelector::Slug(known.slug)).await.unwrap().cluster,
        Some(cluster_b())
    );
    // An epoch from before opens nothing in the cluster either.
    let stale = format!(
        "SELECT control.enter_tenant('{}', {}, 1000, 1, 1000, false)::text",
        tenant.uuid(),
        known.epoch
    );
    let mut login = pair.b.connect("bulkhead_tenant").await;
    let refused = sqlx::query(sqlx::AssertSqlSafe(stale))
        .execute(&mut login)
        .await
        .unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "BH409");
    // Back again, for the one that remembers b.
    pair.moved(tenant, &Cluster::home()).await;
    write(&second, tenant).await.unwrap();
    assert_eq!(rows(&pair.home, tenant).await["members"].get(..3), Some("202"));
}

#[tokio::test]
async fn while_it_is_moved_a_tenant_is_read_and_refuses_every_change_and_an_abort_opens_it() {
    let pair = Pair::new().await;
    let (tenant, second) = (pair.tenant("acme").await, pair.another());
    for (from, to) in [(Cluster::home(), cluster_b()), (cluster_b(), Cluster::home())] {
        write(&second, tenant).await.unwrap();
        let before = rows(pair.at(&from), tenant).await;
        let moved = pair.frozen(tenant, &to).await;
        for db in [&pair.db, &second] {
            assert!((200..210).contains(&count(db, tenant).await));
            let refused = write(db, tenant).await.unwrap_err();
            assert_eq!(refused.code(), Code::TenantMoving, "{refused:?}");
        }
        let mut tx = second.tenant_for_platform(tenant).await.unwrap();
        let refused = sqlx::query("DELETE FROM members").execute(tx.conn()).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "25006");
        drop(tx);
        let under_way = moves::service::start(&origin(), &pair.db, tenant, &to)
            .await
            .unwrap_err();
        assert_eq!(under_way.code(), Code::MoveUnderWay);
        moves::service::abort(&origin(), &pair.db, tenant, moved.id)
            .await
            .unwrap();
        moves::carry_out(&pair.db, moved.id, None).await.unwrap();
        let ended = moves::service::get(&pair.db, tenant, moved.id).await.unwrap();
        assert_eq!(
            (ended.state, ended.error.as_deref()),
            (MoveState::Aborted, Some("called off"))
        );
        let refused = moves::service::abort(&origin(), &pair.db, tenant, moved.id)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::MoveState);
        assert_eq!(rows(pair.at(&from), tenant).await, before);
        assert!(is_gone(pair.at(&to), tenant).await);
        write(&second, tenant).await.unwrap();
        pair.moved(tenant, &to).await;
    }
}

#[tokio::test]
async fn a_copy_that_differs_is_found_and_the_tenant_stays() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    // When all is copied, and before it is compared, one value changes.
    let moved = pair.moved_up_to(tenant, &cluster_b(), MoveState::Verifying).await;
    run(
        &mut pair.b.look_into(tenant).await,
        "UPDATE members SET last_name = 'x' WHERE email = 'm7@example.com'",
    )
    .await;
    moves::carry_out(&pair.db, moved.id, None).await.unwrap();
    let ended = moves::service::get(&pair.db, tenant, moved.id).await.unwrap();
    assert_eq!(ended.state, MoveState::Aborted);
    assert_eq!(ended.error.as_deref(), Some("members is not the same on both sides"));
    assert_eq!(pair.place(tenant).await, Cluster::home());
    write(&pair.db, tenant).await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_is_not_there_or_nowhere_to_go_is_refused() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let start = async |tenant, to: &str| {
        let refused = moves::service::start(&origin(), &pair.db, tenant, &Cluster::from(to)).await;
        refused.unwrap_err().code()
    };
    assert_eq!(start(tenant, "c").await, Code::Validation);
    assert_eq!(start(tenant, "home").await, Code::Validation);
    assert_eq!(start(TenantId::new(), "b").await, Code::TenantNotFound);
    let missing = moves::service::get(&pair.db, tenant, MoveId::new()).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    run(
        &mut pair.home.connect("postgres").await,
        "UPDATE control.tenants SET status = 'pending'",
    )
    .await;
    assert_eq!(start(tenant, "b").await, Code::TenantStateConflict);
}

#[tokio::test]
async fn a_suspension_reaches_the_cluster_at_once_or_with_the_next_sweep() {
    let pair = Pair::new().await;
    let (tenant, second) = (pair.tenant("acme").await, pair.another());
    pair.moved(tenant, &cluster_b()).await;
    write(&second, tenant).await.unwrap();
    let reason: Reason = "unpaid".parse().unwrap();
    lifecycle::service::suspend(&origin(), &pair.db, tenant, Suspension::ReadOnly, &reason)
        .await
        .unwrap();
    assert_eq!(write(&second, tenant).await.unwrap_err().code(), Code::TenantReadOnly);
    assert_eq!(count(&second, tenant).await, 201);
    lifecycle::service::resume(&origin(), &pair.db, tenant, &reason)
        .await
        .unwrap();
    write(&second, tenant).await.unwrap();
    // As if the process had died between home and the cluster.
    let behind = format!(
        "UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1 WHERE id = '{}'",
        tenant.uuid()
    );
    run(&mut pair.home.connect("postgres").await, &behind).await;
    bulkhead_tenants::placement::service::follow_all(&pair.db)
        .await
        .unwrap();
    assert_eq!(write(&second, tenant).await.unwrap_err().code(), Code::TenantNotActive);
}
