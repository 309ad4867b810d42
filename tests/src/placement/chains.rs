//! Audit logs of tenants that move: the chain goes along and is proved where it is, and a frozen tenant's log rests.

use std::path::PathBuf;

use bulkhead_audit::chain::Reason;
use bulkhead_iam::{
    audit_log::{Checkpoints, Keeper, service},
    permissions::SystemRole,
    tokens::Keys,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
    ids::{MoveId, TenantId},
};
use bulkhead_tenancy::{Cluster, Db};
use bulkhead_tenants::moves;
use tokio_util::sync::CancellationToken;

use super::{Pair, cluster_b, origin};
use crate::{audit::scope, harness::run};

/// Two clusters, and whoever keeps the logs of each.
struct Archive {
    pair: Pair,
    config: Config,
    folder: PathBuf,
}

impl Archive {
    async fn new() -> Self {
        let pair = Pair::new().await;
        let folder = std::env::temp_dir().join(format!("bulkhead-audit-{}", MoveId::new()));
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/iam/testdata/keys");
        let own = [
            ("BULKHEAD__AUTH__KEYS_DIR", keys.to_owned()),
            ("BULKHEAD__AUDIT__CHECKPOINTS_DIR", folder.display().to_string()),
            ("BULKHEAD__AUDIT__CHECKPOINT_MS", "0".to_owned()),
        ];
        let env = pair.home.settings().into_iter();
        let env = env.chain(own.map(|(key, value)| (key.to_owned(), value)));
        let config = Config::load_for(ConfigSource::from_env(env), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Self { pair, config, folder }
    }

    fn keeper(&self, cluster: &Cluster) -> Keeper {
        Keeper::new(self.pair.db.at(cluster).unwrap(), &self.config, Clock::system())
    }

    async fn seal(&self, cluster: &Cluster) {
        self.keeper(cluster).seal(&CancellationToken::new()).await.unwrap();
    }

    async fn attest(&self, cluster: &Cluster) {
        self.keeper(cluster).attest(&CancellationToken::new()).await.unwrap();
    }

    /// As many rows, and where the chain ends once they are looked at as the product does: how many, and what is wrong.
    async fn verify(&self, tenant: TenantId) -> (u64, Option<(i64, Reason)>) {
        let keys = Keys::load(&self.config.auth.keys_dir).unwrap();
        let checkpoints = Checkpoints::new(&self.folder);
        let verified = service::verify_tenant(&self.pair.db, &keys, &checkpoints, tenant).await;
        let verified = verified.unwrap();
        (verified.n_rows, verified.flaw.map(|flaw| (flaw.seq, flaw.reason)))
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// As many events, wherever the tenant lives.
async fn record(db: &Db, tenant: TenantId, n_events: usize) {
    let scope = scope(db, tenant, SystemRole::Owner, &Clock::system()).await;
    for n in 0..n_events {
        let mut tx = db.tenant(tenant).await.unwrap();
        let event = scope.event("thing.make").on("thing", n);
        bulkhead_audit::record(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_chain_goes_along_and_is_proved_where_it_is() {
    let archive = Archive::new().await;
    let (pair, home, b) = (&archive.pair, Cluster::home(), cluster_b());
    let tenant = pair.tenant("acme").await;
    record(&pair.db, tenant, 4).await;
    archive.seal(&home).await;
    archive.attest(&home).await;
    // Two that wait on the way.
    record(&pair.db, tenant, 2).await;
    assert_eq!(pair.moved(tenant, &b).await.state.as_str(), "done");
    assert_eq!(archive.verify(tenant).await, (4, None));
    archive.seal(&b).await;
    assert_eq!(
        archive.verify(tenant).await,
        (6, None),
        "sealed there, not attested yet"
    );
    archive.attest(&b).await;
    record(&pair.db, tenant, 1).await;
    archive.seal(&b).await;
    archive.attest(&b).await;
    assert_eq!(archive.verify(tenant).await, (7, None));

    // What nobody sealed, a cut off end, and an edit of a row from before the move are named as at home.
    let tamper = async |sql: &str| {
        let sql = format!("SET session_replication_role = replica; {sql}");
        run(&mut pair.b.look_into(tenant).await, &sql).await;
    };
    tamper("UPDATE audit_events SET actor_id = 'usr_other' WHERE seq = 2").await;
    assert_eq!(archive.verify(tenant).await.1, Some((2, Reason::Altered)));
    assert_eq!(pair.moved(tenant, &home).await.state.as_str(), "done");
    assert_eq!(
        archive.verify(tenant).await.1,
        Some((2, Reason::Altered)),
        "moving heals nothing"
    );
}

#[tokio::test]
async fn the_log_of_a_frozen_tenant_rests_and_holds_nobody_up() {
    let archive = Archive::new().await;
    let (pair, home) = (&archive.pair, Cluster::home());
    let [frozen, other] = [pair.tenant("acme").await, pair.tenant("bolt").await];
    for tenant in [frozen, other] {
        record(&pair.db, tenant, 2).await;
    }
    archive.seal(&home).await;
    for tenant in [frozen, other] {
        record(&pair.db, tenant, 3).await;
    }
    let moved = pair.frozen(frozen, &cluster_b()).await;
    archive.seal(&home).await;
    archive.attest(&home).await;
    assert_eq!(archive.verify(frozen).await, (2, None));
    assert_eq!(archive.verify(other).await, (5, None));
    let attested = |tenant: TenantId| archive.folder.join(tenant.to_string()).exists();
    assert_eq!((attested(frozen), attested(other)), (false, true));

    moves::service::abort(&origin(), &pair.db, frozen, moved.id)
        .await
        .unwrap();
    moves::carry_out(&pair.db, moved.id, None).await.unwrap();
    archive.seal(&home).await;
    archive.attest(&home).await;
    assert_eq!(archive.verify(frozen).await, (5, None));
    assert!(attested(frozen));
}
