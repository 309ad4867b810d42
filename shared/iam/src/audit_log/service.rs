//! What can be done with the tenant's audit log.

use bulkhead_audit::{
    Actor, Entry, Event, Filter, Part, Position,
    chain::{self, Anchor, Flaw, Head, Reason, Walk},
};
use bulkhead_kernel::{ids::TenantId, origin::Origin};
use bulkhead_tenancy::{Db, TenantTx};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::instrument;
use uuid::{Builder, Uuid};

use super::{AuditError, Checkpoint, Checkpoints, Verification, checkpoints::Detail};
use crate::{Iam, Scope, permissions::Permission, tokens::Keys};

/// Entries that one transaction of an export reads.
const EXPORT_BATCH: u32 = 1_000;

/// A part of the log, the newest entry first, with the number of all where a page was asked for.
#[instrument(skip_all)]
pub async fn list(
    scope: &Scope,
    tx: &mut TenantTx,
    filter: &Filter,
    part: Part,
) -> Result<(Vec<Entry>, Option<i64>), AuditError> {
    scope.require(Permission::AuditRead)?;
    Ok(bulkhead_audit::list(tx, filter, part).await?)
}

/// All entries, the newest first, in batches that are read as they are asked for. That somebody took them is an entry.
#[instrument(skip_all)]
pub async fn export(
    scope: &Scope,
    db: &Db,
    filter: Filter,
    format: &'static str,
) -> Result<impl Stream<Item = Result<Vec<Entry>, AuditError>> + Send + use<>, AuditError> {
    scope.require(Permission::AuditRead)?;
    let mut tx = db.tenant(scope.tenant.id).await?;
    let exported = scope.event("audit_log.export").change("format", Value::Null, format);
    bulkhead_audit::record(&mut tx, exported).await?;
    tx.commit().await?;
    let rest = Rest {
        db: db.clone(),
        tenant: scope.tenant.id,
        filter,
        after: None,
    };
    Ok(stream::try_unfold(rest, Rest::next))
}

/// What is left of an export.
struct Rest {
    db: Db,
    tenant: TenantId,
    filter: Filter,
    after: Option<Position>,
}

impl Rest {
    async fn next(mut self) -> Result<Option<(Vec<Entry>, Self)>, AuditError> {
        let mut tx = self.db.tenant(self.tenant).await?;
        let part = Part::After(self.after, EXPORT_BATCH);
        let (batch, _) = bulkhead_audit::list(&mut tx, &self.filter, part).await?;
        tx.commit().await?;
        Ok(batch.last().map(Entry::position).map(|last| {
            self.after = Some(last);
            (batch, self)
        }))
    }
}

/// Something that was refused to somebody.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// To whom: the principal of the request.
    pub actor: &'a str,
    /// The method and the route.
    pub route: &'a str,
    /// The code of the problem.
    pub code: &'static str,
    /// When.
    pub at: DateTime<Utc>,
}

impl Refusal<'_> {
    /// The same for all refusals of this kind to this actor within a minute, so that a flood is one entry.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let minute = self.at.timestamp().div_euclid(60);
        let text = format!("{}\n{}\n{}\n{minute}", self.actor, self.route, self.code);
        let hash = Sha256::digest(text);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Records a refusal in a transaction of its own: that of what was refused is gone.
#[instrument(skip_all)]
pub async fn record_refusal(
    origin: &Origin,
    db: &Db,
    tenant: TenantId,
    refusal: &Refusal<'_>,
) -> Result<(), AuditError> {
    let event = Event::new("request.refuse", Actor::of(origin), origin, refusal.at)
        .refused()
        .on("route", refusal.route)
        .change("code", Value::Null, refusal.code);
    let mut tx = db.tenant(tenant).await?;
    bulkhead_audit::record_once(&mut tx, refusal.id(), event).await?;
    Ok(tx.commit().await?)
}

/// Walks along the whole log and compares it with the checkpoints; also how many entries are not sealed yet.
#[instrument(skip_all)]
pub async fn verify(scope: &Scope, iam: &Iam, checkpoints: &Checkpoints) -> Result<(Verification, i64), AuditError> {
    scope.require(Permission::AuditRead)?;
    let tenant = scope.tenant.id;
    let mut tx = iam.db.tenant(tenant).await?;
    let n_waiting = bulkhead_audit::count_unsealed(&mut tx).await?;
    tx.commit().await?;
    let keys = Keys::load(&iam.settings.keys_dir)?;
    Ok((verify_tenant(&iam.db, &keys, checkpoints, tenant).await?, n_waiting))
}

/// The same for whoever runs the platform.
pub async fn verify_tenant(
    db: &Db,
    keys: &Keys,
    checkpoints: &Checkpoints,
    tenant: TenantId,
) -> Result<Verification, AuditError> {
    let found = walk(db, checkpoints.read(keys, tenant, Detail::Days)?, tenant).await?;
    match found.flaw.map(|flaw| flaw.reason) {
        // Retention may have removed rows since the checkpoints were read; the one that says so was written before.
        Some(Reason::FrontCut) => walk(db, checkpoints.read(keys, tenant, Detail::Days)?, tenant).await,
        Some(Reason::Rewritten) => walk(db, checkpoints.read(keys, tenant, Detail::Everything)?, tenant).await,
        _ => Ok(found),
    }
}

/// Checkpoints and head first: whatever is sealed meanwhile is more than what has to be there.
async fn walk(db: &Db, known: Vec<Checkpoint>, tenant: TenantId) -> Result<Verification, AuditError> {
    let newest = known.last().cloned();
    let head = find_head(db, tenant).await?;
    let base = match (&newest, &head) {
        (Some(newest), _) => newest.base.clone(),
        (None, Some(head)) => head.base.clone(),
        (None, None) => Anchor::origin(),
    };
    let sealed = newest.as_ref().map_or(0, |newest| newest.end.seq);
    let sealed = sealed.max(head.map_or(0, |head| head.end.seq));
    let mut walk = Walk::new(base, known.into_iter().map(|checkpoint| checkpoint.end).collect());
    let mut n_rows = 0;
    let mut flaw = step_through(db, tenant, &mut walk, &mut n_rows).await?;
    let (first_seq, last_seq) = walk.seen();
    if flaw.is_none() {
        flaw = walk.finish(sealed).err();
    }
    if flaw.is_none() && last_seq > sealed {
        flaw = find_added(db, tenant, last_seq).await?;
    }
    Ok(Verification {
        first_seq,
        last_seq,
        n_rows,
        checkpoint: newest,
        flaw,
    })
}

async fn step_through(
    db: &Db,
    tenant: TenantId,
    walk: &mut Walk,
    n_rows: &mut u64,
) -> Result<Option<Flaw>, AuditError> {
    let mut after = 0;
    loop {
        let mut tx = db.tenant_for_platform(tenant).await?;
        let rows = chain::list_sealed(&mut tx, after).await?;
        tx.commit().await?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        after = last.seq();
        for row in &rows {
            *n_rows += 1;
            if let Err(flaw) = walk.step(row) {
                return Ok(Some(flaw));
            }
        }
    }
}

/// Rows past the end of the chain as it is by now were sealed by nobody.
async fn find_added(db: &Db, tenant: TenantId, last: i64) -> Result<Option<Flaw>, AuditError> {
    let sealed = find_head(db, tenant).await?.map_or(0, |head| head.end.seq);
    Ok((last > sealed).then_some(Flaw {
        seq: sealed + 1,
        id: None,
        reason: Reason::Added,
    }))
}

/// It is kept where the tenant lives.
async fn find_head(db: &Db, tenant: TenantId) -> Result<Option<Head>, AuditError> {
    let mut tx = db.of(tenant).await?.control().await?;
    let head = chain::find_head(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok(head)
}
