//! Audit logs: what is recorded, how it is sealed, and what happens to those who tamper with it.

mod keeping;
mod log;
mod recording;
mod refusals;
mod tampering;

use std::{collections::BTreeSet, path::PathBuf};

use bulkhead_audit::chain::Reason;
use bulkhead_iam::{
    Person, Principal, Scope,
    audit_log::{Checkpoints, Keeper, Verification, service},
    permissions::SystemRole,
    tokens::Keys,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
    ids::{IdentityId, SessionId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{Db, TenantSelector};
use chrono::DateTime;
use tokio_util::sync::CancellationToken;

use crate::harness::{TestDb, run};

/// A tenant whose log is kept in process, at a time the test sets.
pub(crate) struct Lab {
    pub(crate) test: TestDb,
    pub(crate) db: Db,
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    clock: Clock,
    keeper: Keeper,
    keys: Keys,
    folder: PathBuf,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let test = TestDb::new().await;
        let folder = std::env::temp_dir().join(format!("bulkhead-audit-{}", SessionId::new()));
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/iam/testdata/keys");
        let own = [
            ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "60000".to_owned()),
            ("BULKHEAD__AUTH__KEYS_DIR", keys.to_owned()),
            ("BULKHEAD__AUDIT__CHECKPOINTS_DIR", folder.display().to_string()),
            ("BULKHEAD__AUDIT__CHECKPOINT_MS", "0".to_owned()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        let env = test.settings().into_iter().chain(own);
        let config = Config::load_for(ConfigSource::from_env(env), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let db = Db::new(&config.database).unwrap();
        let tenant = test.tenant(&db, "acme").await;
        let scope = scope(&db, tenant, SystemRole::Owner, &clock).await;
        Self {
            keeper: Keeper::new(db.clone(), &config, clock.clone()),
            keys: Keys::load(&config.auth.keys_dir).unwrap(),
            test,
            db,
            tenant,
            scope,
            clock,
            folder,
        }
    }

    /// As many events, each in a transaction of its own.
    async fn record(&self, n_events: usize) {
        for n in 0..n_events {
            let mut tx = self.db.tenant(self.tenant).await.unwrap();
            let event = self
                .scope
                .event("thing.make")
                .on("thing", n)
                .change("name", "a", format!("b{n}"));
            bulkhead_audit::record(&mut tx, event).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Seals and attests all that is there.
    async fn seal(&self) {
        let stop = CancellationToken::new();
        self.keeper.seal(&stop).await.unwrap();
        self.keeper.attest(&stop).await.unwrap();
    }

    async fn trim(&self) {
        self.keeper.trim(&CancellationToken::new()).await.unwrap();
    }

    async fn verify(&self) -> Verification {
        let checkpoints = Checkpoints::new(&self.folder);
        let verified = service::verify_tenant(&self.db, &self.keys, &checkpoints, self.tenant).await;
        verified.unwrap()
    }

    /// Where the log is wrong first, and how.
    async fn flaw(&self) -> Option<(i64, Reason)> {
        self.verify().await.flaw.map(|flaw| (flaw.seq, flaw.reason))
    }

    /// What somebody does who has taken the whole database over, past every trigger.
    async fn tamper(&self, sql: &str) {
        let mut admin = self.test.look_into(self.tenant).await;
        run(&mut admin, &format!("SET session_replication_role = replica; {sql}")).await;
    }

    /// The numbers of the sealed rows, and how many rows are not sealed.
    async fn places(&self) -> (Vec<i64>, usize) {
        let places = sqlx::query_scalar!("SELECT seq FROM audit_events ORDER BY seq")
            .fetch_all(&mut self.test.look_into(self.tenant).await)
            .await
            .unwrap();
        let sealed: Vec<i64> = places.iter().copied().flatten().collect();
        (sealed.clone(), places.len() - sealed.len())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Somebody with this role.
pub(crate) async fn scope(db: &Db, tenant: TenantId, role: SystemRole, clock: &Clock) -> Scope {
    let identity = IdentityId::new();
    Scope {
        principal: Principal::Member(Person {
            identity,
            session: SessionId::new(),
            email: "ada@acme.example".into(),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
        }),
        tenant: db.resolve(&TenantSelector::Id(tenant)).await.unwrap(),
        permissions: role.permissions(),
        roles: vec![role.to_string()],
        origin: Origin {
            principal: identity.to_string(),
            request_id: "req-1".into(),
            traceparent: None,
            address: Some("192.0.2.7".into()),
            agent: Some("tests".into()),
        },
        clock: clock.clone(),
    }
}

/// Whether the numbers are those from 1 on without a gap.
fn assert_gap_free(places: &[i64], n_rows: usize) {
    let expected: Vec<i64> = (1..=i64::try_from(n_rows).unwrap()).collect();
    assert_eq!(places, expected);
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), n_rows);
}
