//! Who may do what, asked of the catalog: every relation, function, schema, database and language of ours, every verb,
//! every role. What differs from the rules in `matrix.sql` is named.

use bulkhead_kernel::{
    config::{Config, ConfigSource},
    secret::Secret,
};
use bulkhead_tenancy::{Db, SchemaName, migrations::migrate_control};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::functions::GRANTED;
use crate::harness::{Postgres, TestDb, open_tenant, run};

/// The rules: statements that give a line for whatever differs. The part before the first `;` is put before each.
const RULES: &str = include_str!("matrix.sql");

/// Everything that is not as the rules want it.
async fn deviations(connection: &mut PgConnection) -> Vec<String> {
    let functions: Vec<&str> = GRANTED.iter().map(|(function, ..)| *function).collect();
    let grantees: Vec<&str> = GRANTED.iter().map(|(_, grantee, _)| *grantee).collect();
    let mut parts = RULES.split(';').filter(|part| !part.trim().is_empty());
    let terms = parts.next().unwrap();
    let mut found = Vec::new();
    for rule in parts {
        let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("{terms}{rule}")))
            .bind(&functions)
            .bind(&grantees)
            .fetch_all(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("{error} in {rule}"));
        found.extend(lines);
    }
    found
}

#[tokio::test]
async fn fifty_tenants_grant_exactly_what_is_allowed_to_every_role() {
    // Roles belong to a whole server, so it has to be one that no other test uses.
    let server = Postgres::start().await;
    let test = TestDb::on(server.url()).await;
    let db = test.db(&[]);
    for index in 0..50 {
        test.tenant(&db, &format!("tenant-{index}")).await;
    }
    let mut admin = test.connect("postgres").await;
    let n_roles: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_roles WHERE rolname LIKE 't\\_%'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(n_roles, 50);
    assert_eq!(deviations(&mut admin).await, [""; 0]);
}

/// What somebody may do by mistake, and what the matrix must say of it. `{a}` and `{b}` are tenants.
const PLANTED: &[(&str, &str)] = &[
    (
        "GRANT SELECT ON {b}.members TO {a}",
        "SELECT on {b}.members: {a} has it",
    ),
    (
        "GRANT TRUNCATE ON {a}.members TO {a}",
        "TRUNCATE on {a}.members: {a} has it",
    ),
    (
        "REVOKE DELETE ON {a}.members FROM {a}",
        "DELETE on {a}.members: {a} lacks it",
    ),
    (
        "GRANT UPDATE ON {a}.audit_events TO {a}",
        "UPDATE on {a}.audit_events: {a} has it",
    ),
    (
        "GRANT DELETE ON control.audit_heads TO bulkhead_control",
        "DELETE on control.audit_heads: bulkhead_control has it",
    ),
    ("GRANT SELECT ON {b}.vms TO PUBLIC", "SELECT on {b}.vms: public has it"),
    (
        "GRANT UPDATE (name) ON {b}.vms TO {a}",
        "UPDATE on column {b}.vms.name: {a} has it",
    ),
    (
        "GRANT SELECT (slug) ON control.tenants TO bulkhead_tenant",
        "SELECT on column control.tenants.slug: bulkhead_tenant has it",
    ),
    (
        "REVOKE SELECT (epoch) ON control.tenants FROM bulkhead_tenant",
        "SELECT on column control.tenants.epoch: bulkhead_tenant lacks it",
    ),
    (
        "GRANT INSERT ON control.jobs TO bulkhead_tenants",
        "INSERT on control.jobs: {a} has it",
    ),
    ("GRANT USAGE ON SCHEMA {b} TO {a}", "USAGE on schema {b}: {a} has it"),
    ("GRANT CREATE ON SCHEMA {a} TO {a}", "CREATE on schema {a}: {a} has it"),
    (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "CREATE on schema public: public has it",
    ),
    (
        "GRANT EXECUTE ON FUNCTION control.list_vm_templates() TO PUBLIC",
        "EXECUTE on control.list_vm_templates(): public has it",
    ),
    (
        "GRANT EXECUTE ON FUNCTION {b}.check_vm_transition() TO {a}",
        "EXECUTE on {b}.check_vm_transition(): {a} has it",
    ),
    (
        "CREATE FUNCTION control.new() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         GRANT EXECUTE ON FUNCTION control.new() TO bulkhead_tenants",
        "EXECUTE on control.new(): {b} has it",
    ),
    (
        "ALTER FUNCTION control.hold_lease(uuid, uuid) RESET search_path",
        "control.hold_lease(uuid,uuid) has its owner's rights and an open path",
    ),
    (
        "GRANT TEMPORARY ON DATABASE {db} TO {a}",
        "TEMPORARY on the database: {a} has it",
    ),
    (
        "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        "USAGE on language plpgsql: public has it",
    ),
    ("GRANT {b} TO {a}", "{a} is a member of {b}"),
    ("GRANT pg_read_all_data TO {a}", "{a} is a member of pg_read_all_data"),
    ("REVOKE {a} FROM bulkhead_tenant", "{a} has 0 logins"),
    (
        "ALTER ROLE {a} LOGIN",
        "{a} has an attribute that its kind must not have",
    ),
    (
        "ALTER ROLE bulkhead_tenant INHERIT",
        "bulkhead_tenant has an attribute that its kind must not have",
    ),
    (
        "ALTER ROLE {a} SET search_path = {b}",
        "{a} has the setting search_path={b} of its own",
    ),
    ("ALTER TABLE {a}.vms OWNER TO {a}", "{a} owns something"),
    (
        "CREATE ROLE stranger; GRANT SELECT ON {a}.vms TO stranger",
        "stranger has a grant on {a}.vms",
    ),
    (
        "GRANT SELECT ON {a}.vms TO {a} WITH GRANT OPTION",
        "{a} may grant SELECT on {a}.vms",
    ),
    (
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "what is made later is granted to public",
    ),
    (
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "functions made later are for everybody",
    ),
    ("CREATE SEQUENCE {a}.numbers", "{a}.numbers is no table"),
    (
        "CREATE TYPE {a}.colour AS ENUM ('red')",
        "{a}.colour is a type of its own",
    ),
    ("CREATE DOMAIN {a}.age AS int", "{a}.age is a type of its own"),
    ("CREATE TABLE public.stray ()", "stray lies in public"),
    (
        "UPDATE pg_extension SET extnamespace = '{a}'::regnamespace",
        "the extension plpgsql lies in {a}",
    ),
    ("SELECT lo_create(4711)", "there is the large object 4711"),
    (
        "COMMENT ON SCHEMA {a} IS 'acme'",
        "a comment on {a} or what is in it can be read by all",
    ),
    (
        "GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO PUBLIC",
        "hardening: set_config is not for PUBLIC",
    ),
    (
        "GRANT EXECUTE ON FUNCTION lo_get(oid) TO PUBLIC",
        "hardening: large objects are not for PUBLIC",
    ),
    (
        "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO PUBLIC",
        "hardening: advisory locks are not for PUBLIC",
    ),
];

#[tokio::test]
async fn each_planted_grant_is_named_by_the_matrix() {
    let server = Postgres::start().await;
    let test = TestDb::on(server.url()).await;
    let db = test.db(&[]);
    let mut names = Vec::new();
    for slug in ["a-tenant", "b-tenant"] {
        names.push(SchemaName::from(test.tenant(&db, slug).await).to_string());
    }
    let fill = |text: &str| {
        text.replace("{a}", &names[0])
            .replace("{b}", &names[1])
            .replace("{db}", test.name())
    };
    let mut admin = test.connect("postgres").await;
    assert_eq!(deviations(&mut admin).await, [""; 0]);
    for (planted, expected) in PLANTED {
        run(&mut admin, &format!("BEGIN; {}", fill(planted))).await;
        let found = deviations(&mut admin).await;
        assert!(found.contains(&fill(expected)), "{planted} gives {found:#?}");
        run(&mut admin, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_hardening_is_told_from_one_that_took_it_and_still_keeps_tenants_apart() {
    let server = Postgres::start().await;
    let url = |user: &str, database: &str| {
        let host = server.url().replace("postgres://postgres@", "");
        Secret::new(format!(
            "postgres://{user}@{}/{database}",
            host.split('/').next().unwrap()
        ))
    };
    // As on a managed service: who owns our database is not the superuser.
    let mut admin = connect(&url("postgres", "postgres")).await;
    run(&mut admin, "CREATE ROLE provider LOGIN CREATEROLE").await;
    run(&mut admin, "CREATE DATABASE managed OWNER provider").await;
    let owner = url("provider", "managed");
    migrate_control(&owner, [&owner, &owner]).await.unwrap();
    let steps: Vec<String> = sqlx::query_scalar(
        "SELECT step FROM control.hardening() WHERE NOT is_done AND length(what_protects_otherwise) > 20",
    )
    .fetch_all(&mut connect(&url("bulkhead_control", "managed")).await)
    .await
    .unwrap();
    assert_eq!(
        steps,
        [
            "set_config is not for PUBLIC",
            "large objects are not for PUBLIC",
            "advisory locks are not for PUBLIC",
            "pg_notify is not for PUBLIC",
            "languages are not for PUBLIC",
        ]
    );

    let env = [
        ("OWNER", "provider"),
        ("CONTROL", "bulkhead_control"),
        ("TENANT", "bulkhead_tenant"),
    ];
    let env = env.map(|(key, user)| {
        let url = url(user, "managed").expose().to_owned();
        (format!("BULKHEAD__DATABASE__{key}_URL"), url)
    });
    let config = Config::load_for(ConfigSource::from_env(env), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let db = Db::new(&config.database).unwrap();
    let (here, there) = (open_tenant(&db, "here").await, open_tenant(&db, "there").await);
    let other = SchemaName::from(there);
    for sql in [
        format!("SELECT FROM {other}.members"),
        format!("SET LOCAL search_path = {other}; INSERT INTO members DEFAULT VALUES"),
        "SELECT FROM control.identities".into(),
        "CREATE TEMP TABLE members ()".into(),
        "CREATE TABLE mine ()".into(),
    ] {
        let mut tx = db.tenant(here).await.unwrap();
        let refused = super::refusal(tx.conn(), &sql).await.unwrap();
        assert!(["42501", "42P01"].contains(&refused.as_str()), "{refused} for {sql}");
    }
}

async fn connect(url: &Secret) -> PgConnection {
    PgConnection::connect(url.expose()).await.unwrap()
}
