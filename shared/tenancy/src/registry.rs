//! Which tenants there are, as the router remembers it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::ids::TenantId;

use crate::{Cluster, ControlTx, DbError, Slug};

/// How long an entry is believed. Entering the tenant checks its epoch, so an old entry costs a round trip, never a
/// wrong answer; [`crate::Db::resolve`] asks for as much before it believes a slug.
const TTL: Duration = Duration::from_secs(10);

/// The most tenants remembered; beyond it the whole memory starts anew.
const CAPACITY: usize = 50_000;

/// How a caller names a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSelector {
    /// By its id.
    Id(TenantId),
    /// By its slug.
    Slug(Slug),
}

/// A tenant as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRef {
    /// Its id, which names its schema.
    pub id: TenantId,
    /// What people type.
    pub slug: Slug,
    /// What people read.
    pub name: String,
    /// Rises whenever the tenant moves or changes state.
    pub epoch: i64,
    /// Whose login may take the tenant's role; 0 for a tenant that has none yet.
    pub shard: i16,
    /// Where it lives; `None` is the cluster that was asked.
    pub cluster: Option<Cluster>,
    /// Whether it is being moved and cannot be changed meanwhile.
    pub is_frozen: bool,
}

impl TenantRef {
    /// Whether this refusal says that the tenant is no longer what was remembered, so that another look is worth while. A
    /// cluster that it has left does not know it at all.
    pub(crate) const fn has_left(&self, refusal: &DbError) -> bool {
        match refusal {
            DbError::StaleEpoch => true,
            DbError::TenantNotFound => self.cluster.is_some(),
            _ => false,
        }
    }
}

/// The remembered part of `control.tenants`.
#[derive(Default)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<TenantId, (Instant, TenantRef)>,
    by_slug: HashMap<Slug, TenantId>,
}

impl Registry {
    pub(crate) fn get(&self, selector: &TenantSelector) -> Option<TenantRef> {
        self.find(selector, Some(TTL))
    }

    /// The same, however long ago it was learned.
    pub(crate) fn recall(&self, selector: &TenantSelector) -> Option<TenantRef> {
        self.find(selector, None)
    }

    fn find(&self, selector: &TenantSelector, ttl: Option<Duration>) -> Option<TenantRef> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match selector {
            TenantSelector::Id(id) => id,
            TenantSelector::Slug(slug) => entries.by_slug.get(slug)?,
        };
        let (since, tenant) = entries.by_id.get(id)?;
        let is_named_so = match selector {
            TenantSelector::Id(_) => true,
            TenantSelector::Slug(slug) => tenant.slug == *slug,
        };
        (is_named_so && ttl.is_none_or(|ttl| since.elapsed() < ttl)).then(|| tenant.clone())
    }

    pub(crate) fn put(&self, tenant: &TenantRef) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.by_id.len() >= CAPACITY {
            *entries = Entries::default();
        }
        entries.forget(tenant.id);
        entries.by_slug.insert(tenant.slug.clone(), tenant.id);
        entries.by_id.insert(tenant.id, (Instant::now(), tenant.clone()));
    }

    pub(crate) fn forget(&self, tenant: TenantId) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(tenant);
    }
}

impl Entries {
    fn forget(&mut self, tenant: TenantId) {
        let Some((_, known)) = self.by_id.remove(&tenant) else {
            return;
        };
        if self.by_slug.get(&known.slug) == Some(&tenant) {
            self.by_slug.remove(&known.slug);
        }
    }
}

/// Looks a tenant up, whatever its state.
pub(crate) async fn find(tx: &mut ControlTx, selector: &TenantSelector) -> Result<Option<TenantRef>, DbError> {
    let (id, slug) = match selector {
        TenantSelector::Id(id) => (Some(id.uuid()), None),
        TenantSelector::Slug(slug) => (None, Some(slug.as_str())),
    };
    let row = sqlx::query!(
        r#"
        SELECT t.id, t.slug, t.name, t.epoch, coalesce(p.shard, t.shard, 0::smallint) AS "shard!", p.cluster AS "cluster?",
               CASE WHEN p.cluster IS NULL THEN t.frozen_by IS NOT NULL ELSE p.state = 'frozen' END AS "is_frozen!"
        FROM control.tenants AS t
                 LEFT JOIN control.placements AS p ON p.tenant_id = t.id AND p.cluster <> 'home'
        WHERE t.id = $1
           OR t.slug = $2
        "#,
        id,
        slug,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.and_then(|row| {
        Some(TenantRef {
            id: row.id.into(),
            slug: row.slug.parse().ok()?,
            name: row.name,
            epoch: row.epoch,
            shard: row.shard,
            cluster: row.cluster.as_deref().map(Cluster::from),
            is_frozen: row.is_frozen,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_long_ago_is_no_longer_believed_and_still_recalled() {
        let (registry, id) = (Registry::default(), TenantId::new());
        let tenant = TenantRef {
            id,
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            epoch: 1,
            shard: 1,
            cluster: Some("b".into()),
            is_frozen: false,
        };
        registry.put(&tenant);
        let selectors = [TenantSelector::Id(id), TenantSelector::Slug(tenant.slug.clone())];
        for selector in &selectors {
            assert_eq!(registry.get(selector).as_ref(), Some(&tenant));
        }
        let long_ago = Instant::now().checked_sub(TTL).unwrap();
        registry
            .entries
            .lock()
            .unwrap()
            .by_id
            .insert(id, (long_ago, tenant.clone()));
        for selector in &selectors {
            assert_eq!(registry.get(selector), None);
            assert_eq!(registry.recall(selector).as_ref(), Some(&tenant));
        }
        registry.forget(id);
        assert_eq!(registry.recall(&selectors[0]), None);
    }
}
