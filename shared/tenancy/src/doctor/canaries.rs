//! The two throw-away tenants: rows in the registry and whole schemas, made by the product's own steps and taken away
//! again, by the next examination at the latest. Nobody belongs to them.

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Mutex;

use crate::{Db, DbError, OwnerTx, SchemaName, Slug, doctor::DoctorError};

/// What the slug of every throw-away tenant begins with. They are known by `control.doctor_tenants`, not by this: a
/// customer may choose such a slug too.
pub const SLUG_PREFIX: &str = "doctor-isolation-";

/// Held in a transaction for as long as an examination runs, so that it ends with its process, however that ends.
const ONE_AT_A_TIME: i64 = 0x646f_6374_6f72;

/// The pair, and the transaction that keeps others from taking them for left over.
pub(super) struct Canaries {
    pub(super) pair: [TenantId; 2],
    db: Db,
    guard: Mutex<OwnerTx>,
}

impl Canaries {
    /// Takes away what earlier examinations left, then makes two new ones.
    pub(super) async fn make(db: &Db) -> Result<Self, DoctorError> {
        let mut guard = db.owner().await?;
        let is_alone = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "is_alone!""#, ONE_AT_A_TIME)
            .fetch_one(guard.conn())
            .await
            .map_err(DbError::from)?;
        if !is_alone {
            return Err(DoctorError::Busy);
        }
        for left_over in known(db).await? {
            remove(db, left_over).await?;
        }
        let canaries = Self {
            pair: [TenantId::new(), TenantId::new()],
            db: db.clone(),
            guard: Mutex::new(guard),
        };
        for tenant in canaries.pair {
            make(db, tenant).await?;
        }
        Ok(canaries)
    }

    /// To be called every few seconds: the server ends a transaction in which nothing happens.
    pub(super) async fn keep(&self) -> Result<(), DbError> {
        let mut guard = self.guard.lock().await;
        guard.conn().execute("SELECT 1").await?;
        Ok(())
    }

    pub(super) async fn remove(self) -> Result<(), DbError> {
        for tenant in self.pair {
            remove(&self.db, tenant).await?;
        }
        self.guard.into_inner().commit().await
    }
}

async fn known(db: &Db) -> Result<Vec<TenantId>, DbError> {
    let mut tx = db.owner().await?;
    let ids = sqlx::query_scalar!("SELECT tenant_id FROM control.doctor_tenants")
        .fetch_all(tx.conn())
        .await?;
    tx.commit().await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

/// Both in one shard, or they would never meet on a connection. All of it or nothing: a process that dies meanwhile leaves no half of a tenant.
async fn make(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    let slug = format!("{SLUG_PREFIX}{}", tenant.uuid().simple());
    let Ok(slug) = slug.parse::<Slug>() else {
        unreachable!("a prefix and hexadecimal digits are a slug")
    };
    let mut tx = db.owner().await?;
    sqlx::query!(
        r#"
        INSERT INTO control.tenants (id, slug, name, status, shard, activated_at)
        VALUES ($1, $2, 'Canary', 'active', 0, now())
        "#,
        tenant.uuid(),
        slug.as_str(),
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO control.doctor_tenants (tenant_id) VALUES ($1)",
        tenant.uuid()
    )
    .execute(tx.conn())
    .await?;
    tx.create_tenant_role(tenant).await?;
    tx.create_tenant_schema(tenant).await?;
    tx.migrate_tenant_schema(tenant).await?;
    tx.enter_tenant_schema(tenant).await?;
    // The first canary, which stays.
    sqlx::query!(
        "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), 'canary', $1, true)",
        tenant.uuid().to_string(),
    )
    .execute(tx.conn())
    .await?;
    tx.commit().await
}

async fn remove(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    let name = SchemaName::from(tenant);
    let mut tx = db.owner().await?;
    let statements = format!("DROP SCHEMA IF EXISTS {name} CASCADE; DROP ROLE IF EXISTS {name}");
    tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(statements))).await?;
    sqlx::query!("DELETE FROM control.tenants WHERE id = $1", tenant.uuid())
        .execute(tx.conn())
        .await?;
    tx.commit().await
}
