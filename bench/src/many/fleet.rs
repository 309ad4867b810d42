//! Many tenants from one, by SQL.

use std::{fs, path::Path};

use anyhow::Context;
use tokio::task::JoinSet;

use super::Tenant;
use crate::{
    postgres::{Server, Session},
    run::DATABASE,
    tenants::Persona,
};

/// The tables of each tenant: those of the product, and plain ones.
pub(crate) const TABLES: usize = 20;

/// What a login may take, as the product's default has it.
const PER_SHARD: usize = 400;

/// Sessions that build schemas at a time.
const LANES: usize = 4;

/// All tenants; the first one signed up by itself.
pub(crate) struct Fleet {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) shards: usize,
    /// A login that is a member of the roles of all of them, as there would be without shards.
    pub(crate) unsharded: String,
    pub(crate) admin: String,
}

impl Fleet {
    /// Copies the tenant of `first` until there are `count`, with half as many per shard at most if they are few.
    pub(crate) async fn make(server: &Server, admin: &str, first: &Persona, count: usize) -> anyhow::Result<Self> {
        let mut session = Session::open(server, admin, DATABASE).await?;
        let per_shard = PER_SHARD.min(count / 2);
        let mut tenants = vec![Tenant {
            slug: "bench-0".into(),
            login: "bulkhead_tenant".into(),
            persona: first.clone(),
        }];
        session.query(&extra_tables(&schema(&first.tenant))).await?;
        for number in 1..count {
            let (id, login) = register(&mut session, &first.tenant, number, per_shard).await?;
            tenants.push(Tenant {
                slug: format!("bench-{number}"),
                login,
                persona: Persona {
                    tenant: id,
                    ..first.clone()
                },
            });
        }
        build(server, admin, &schema(&first.tenant), &tenants[1..]).await?;
        session.query("VACUUM (ANALYZE)").await?;
        session.query("CHECKPOINT").await?;
        let unsharded = unsharded(&mut session).await?;
        let shards = session.scalar("SELECT count(*) FROM control.shards").await?.parse()?;
        Ok(Self {
            tenants,
            shards,
            unsharded,
            admin: admin.to_owned(),
        })
    }
}

fn schema(tenant: &str) -> String {
    format!("t_{}", tenant.replace('-', ""))
}

/// The tenant's rows in `control`, its shard and its role, in a transaction of their own as onboarding has it: shards are
/// assigned one after the other.
async fn register(
    session: &mut Session,
    first: &str,
    number: usize,
    per_shard: usize,
) -> anyhow::Result<(String, String)> {
    let id = session.scalar("SELECT gen_random_uuid()").await?;
    let (role, slug) = (schema(&id), format!("bench-{number}"));
    let sql = format!(
        "BEGIN; \
         INSERT INTO control.tenants (id, slug, name, status, epoch, schema_version, created_by, activated_at) \
         SELECT '{id}', '{slug}', '{slug}', 'active', epoch, schema_version, created_by, now() \
         FROM control.tenants WHERE id = '{first}'; \
         INSERT INTO control.memberships (identity_id, tenant_id, role, status) \
         SELECT identity_id, '{id}', role, status FROM control.memberships WHERE tenant_id = '{first}'; \
         SELECT control.shard_login(shard) FROM control.assign_shard('{id}', {per_shard})"
    );
    let login = session.scalar(&sql).await?;
    let create = format!("CREATE ROLE {role} NOLOGIN INHERIT IN ROLE bulkhead_tenants ROLE {login}; COMMIT");
    session.query(&create).await?;
    Ok((id, login))
}

/// A new tenant without a schema, as a bystander sees its creation: roles and grants have changed.
pub(crate) async fn disturb(session: &mut Session, first: &str, number: usize) -> anyhow::Result<()> {
    register(session, first, number, usize::from(u16::MAX))
        .await
        .map(|_| ())
}

async fn build(server: &Server, admin: &str, template: &str, tenants: &[Tenant]) -> anyhow::Result<()> {
    let migrations = migrations()?;
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let schemas: Vec<String> = tenants
            .iter()
            .skip(lane)
            .step_by(LANES)
            .map(|tenant| schema(&tenant.persona.tenant))
            .collect();
        let (server, admin, migrations, template) = (
            server.clone(),
            admin.to_owned(),
            migrations.clone(),
            template.to_owned(),
        );
        lanes.spawn(async move {
            let mut session = Session::open(&server, &admin, DATABASE).await?;
            for schema in schemas {
                session.query(&statements(&schema, &template, &migrations)).await?;
            }
            anyhow::Ok(())
        });
    }
    for ended in lanes.join_all().await {
        ended?;
    }
    Ok(())
}

/// All that builds a tenant's schema.
fn migrations() -> anyhow::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/tenant");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let texts: Result<Vec<String>, _> = files.iter().map(fs::read_to_string).collect();
    Ok(texts?.join(";\n"))
}

/// The schema with its tables, and the rows that the template has.
fn statements(schema: &str, template: &str, migrations: &str) -> String {
    format!(
        "BEGIN; \
         CREATE SCHEMA {schema}; \
         GRANT USAGE ON SCHEMA {schema} TO {schema}; \
         SET LOCAL search_path = {schema}; \
         {migrations}; \
         {}; \
         SET LOCAL session_replication_role = replica; \
         DO $copy$ DECLARE name text; BEGIN \
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '{template}' LOOP \
                 EXECUTE format('INSERT INTO {schema}.%I SELECT * FROM {template}.%I', name, name); \
             END LOOP; \
         END $copy$; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}; \
         COMMIT",
        extra_tables(schema)
    )
}

/// Plain tables until there are [`TABLES`].
fn extra_tables(schema: &str) -> String {
    format!(
        "DO $extra$ BEGIN \
             FOR number IN 1 .. {TABLES} - (SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}') LOOP \
                 EXECUTE format('CREATE TABLE {schema}.extra_%s (id uuid PRIMARY KEY, made_at timestamptz, note text)', number); \
                 EXECUTE format('CREATE INDEX extra_%s_idx ON {schema}.extra_%s (made_at)', number, number); \
             END LOOP; \
         END $extra$"
    )
}

/// A login as that of a shard, which no tenant will get.
async fn unsharded(session: &mut Session) -> anyhow::Result<String> {
    let make = "SELECT control.make_shard_login(999::smallint); DELETE FROM control.shards WHERE shard = 999; \
                DO $all$ DECLARE role text; BEGIN \
                    FOR role IN SELECT 't_' || replace(id::text, '-', '') FROM control.tenants LOOP \
                        EXECUTE format('GRANT %I TO bulkhead_tenant_999', role); \
                    END LOOP; \
                END $all$";
    session.query(make).await?;
    Ok("bulkhead_tenant_999".to_owned())
}
