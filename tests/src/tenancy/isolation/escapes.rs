//! The ways out of a tenant that others have found, tried from inside one.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, SchemaName};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::{DENIED, refusal};
use crate::harness::{TestDb, run};

/// Two tenants, and what a statement of the one may name of the other.
struct Neighbours {
    test: TestDb,
    db: Db,
    here: TenantId,
    there: TenantId,
}

impl Neighbours {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let db = test.db(&[]);
        let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
        Self { test, db, here, there }
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{here}", &SchemaName::from(self.here).to_string())
            .replace("{other}", &SchemaName::from(self.there).to_string())
            .replace("{other_id}", &self.there.uuid().to_string())
    }

    /// The SQLSTATE with which a transaction of the first tenant is refused this.
    async fn refusal(&self, sql: &str) -> Option<String> {
        let mut tx = self.db.tenant(self.here).await.unwrap();
        refusal(tx.conn(), &self.fill(sql)).await
    }

    /// Fails unless every one of them is refused with this SQLSTATE.
    async fn all_refused(&self, sqlstate: &str, escapes: &[&str]) {
        for sql in escapes {
            assert_eq!(self.refusal(sql).await.as_deref(), Some(sqlstate), "{sql}");
        }
    }

    /// Runs a statement inside the first tenant and commits it.
    async fn commit(&self, sql: &str) {
        let mut tx = self.db.tenant(self.here).await.unwrap();
        let sql = self.fill(sql);
        tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The single value that a query inside the first tenant gives, as text.
    async fn value(&self, sql: &str) -> Option<String> {
        let mut tx = self.db.tenant(self.here).await.unwrap();
        let sql = self.fill(sql);
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(tx.conn()).await.unwrap();
        row.get(0)
    }
}

#[tokio::test]
async fn names_of_another_tenant_are_refused_in_every_kind_of_statement() {
    let both = Neighbours::new().await;
    both.all_refused(
        DENIED,
        &[
            "SELECT FROM {other}.members",
            "TABLE {other}.vms",
            "WITH stolen AS (SELECT name FROM {other}.vms) SELECT name FROM stolen",
            "UPDATE {other}.vms SET name = 'mine'",
            "MERGE INTO {other}.members AS m USING members AS n ON m.email = n.email WHEN MATCHED THEN DELETE",
            "LOCK TABLE {other}.members IN ACCESS SHARE MODE",
            "COPY {other}.members TO STDOUT",
            "DECLARE c CURSOR FOR SELECT email FROM {other}.members",
            "PREPARE p AS SELECT email FROM {other}.members",
            "EXPLAIN SELECT email FROM {other}.members",
            "SELECT '{other}.members'::regclass",
            "SELECT {other}.check_vm_transition()",
            "SET LOCAL search_path = {other}; SELECT 'members'::regclass::oid, email FROM {other}.members",
            "SELECT query_to_xml('SELECT email FROM {other}.members', true, true, '')",
            "SELECT table_to_xml('{other}.members', true, true, '')",
            "SELECT word FROM ts_stat('SELECT to_tsvector(email) FROM {other}.members')",
            "SELECT ts_rewrite('a'::tsquery, 'SELECT to_tsquery(email), to_tsquery(email) FROM {other}.members')",
            "LOCK TABLE control.tenants IN ACCESS SHARE MODE",
            "COPY control.identities TO STDOUT",
            "SELECT query_to_xml('SELECT email FROM control.identities', true, true, '')",
        ],
    )
    .await;
    // A path without its schema's USAGE finds nothing.
    both.all_refused("42P01", &["SET LOCAL search_path = {other}; SELECT email FROM members"])
        .await;
}

#[tokio::test]
async fn no_query_changes_the_role_or_the_path() {
    let both = Neighbours::new().await;
    both.all_refused(
        DENIED,
        &[
            "SELECT set_config('role', '{other}', true)",
            "SELECT set_config('role', 'none', false)",
            "SELECT set_config('session_authorization', '{other}', true)",
            "SELECT set_config('search_path', '{other}', true)",
            "SELECT email FROM members WHERE set_config('role', '{other}', true) <> ''",
            "UPDATE pg_settings SET setting = '{other}' WHERE name = 'role'",
            "SELECT query_to_xml('SELECT set_config(''role'', ''{other}'', true)', true, true, '')",
            "SELECT control.enter_tenant('{other_id}', 1, 1000, 1, 9, true)",
            "SELECT control.enter_tenant('{other_id}', 1, 1000)",
            "SELECT control.check_tenant('{other_id}', 1)",
            "SET SESSION AUTHORIZATION {other}",
            "SET SESSION AUTHORIZATION postgres",
            "SET ROLE postgres",
            "SET ROLE bulkhead_control",
            "DO $$ BEGIN SET LOCAL ROLE {other}; END $$",
            "DO $$ BEGIN RESET ROLE; END $$",
        ],
    )
    .await;
    both.all_refused(
        "0A000",
        &[
            "SELECT query_to_xml('RESET ROLE', true, true, '')",
            "WITH moved AS (UPDATE pg_settings SET setting = '{other}' WHERE name = 'role' RETURNING name) SELECT name FROM moved",
        ],
    )
    .await;
}

/// What nothing in the server can refuse, and what therefore must never be sent (see `house::sql` and `Message`).
#[tokio::test]
async fn only_a_statement_of_its_own_leaves_the_tenant_and_a_query_with_parameters_never_carries_a_second_one() {
    let both = Neighbours::new().await;
    for second in ["RESET ROLE", "SET ROLE {other}", "COMMIT"] {
        let mut tx = both.db.tenant(both.here).await.unwrap();
        let sql = both.fill(&format!("SELECT email FROM members WHERE email = $1; {second}"));
        let refused = sqlx::query(AssertSqlSafe(sql)).bind("x").execute(tx.conn()).await;
        let refused = refused.unwrap_err();
        let state = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(state, "42601", "{second}");
    }
    // Out of its role the login reads nothing at all.
    for leave in [
        "RESET ROLE",
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "COMMIT",
    ] {
        for table in ["{here}.members", "{other}.members", "control.identities"] {
            let refused = both.refusal(&format!("{leave}; SELECT FROM {table}")).await;
            assert_eq!(refused.as_deref(), Some(DENIED), "{leave}, {table}");
        }
    }
    // The one thing that is left, said aloud: it would have to take the other role by a third statement.
    let taken = both
        .refusal("RESET ROLE; SET ROLE {other}; SELECT FROM {other}.members")
        .await;
    assert_eq!(taken, None, "nothing is left: say so in docs/isolation.md");
}

#[tokio::test]
async fn nothing_can_be_made_shadowed_or_handed_on() {
    let both = Neighbours::new().await;
    both.all_refused(
        DENIED,
        &[
            "CREATE TEMP TABLE members (email text)",
            "CREATE TEMP VIEW members AS SELECT 1",
            "CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION control.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE VIEW shown AS SELECT email FROM members",
            "CREATE TABLE mine ()",
            "CREATE TABLE public.mine ()",
            "CREATE SEQUENCE numbers",
            "CREATE TYPE colour AS ENUM ('red')",
            "CREATE SCHEMA mine",
            "CREATE RULE r AS ON SELECT TO members DO INSTEAD SELECT 1",
            "CREATE TRIGGER t BEFORE INSERT ON members EXECUTE FUNCTION check_vm_transition()",
            "CREATE POLICY p ON members",
            "CREATE INDEX ON members (status)",
            "ALTER TABLE vms DISABLE TRIGGER vms_transition",
            "ALTER FUNCTION check_vm_transition() SECURITY DEFINER",
            "DROP TABLE members",
            "TRUNCATE members",
            "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION check_vm_transition()",
            "CREATE EXTENSION dblink",
            "CREATE EXTENSION postgres_fdw",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE PUBLICATION p",
            "CREATE ROLE mine",
            "ALTER ROLE {here} LOGIN",
            "ALTER ROLE {other} PASSWORD 'x'",
            "ALTER ROLE bulkhead_tenant SET role = {other}",
            "GRANT {other} TO {here}",
            "GRANT {here} TO {other}",
            "LOAD 'auto_explain'",
        ],
    )
    .await;
    both.all_refused("42883", &["SELECT dblink('dbname=postgres', 'SELECT 1')"])
        .await;
}

#[tokio::test]
async fn files_programs_and_other_sessions_are_out_of_reach() {
    let both = Neighbours::new().await;
    both.all_refused(
        DENIED,
        &[
            "COPY members TO PROGRAM 'cat'",
            "COPY members FROM PROGRAM 'true'",
            "COPY members TO '/tmp/members'",
            "COPY members FROM '/etc/passwd'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT pg_read_binary_file('PG_VERSION')",
            "SELECT pg_ls_dir('.')",
            "SELECT pg_stat_file('PG_VERSION')",
            "SELECT pg_ls_logdir()",
            "SELECT lo_import('/etc/passwd')",
            "SELECT pg_reload_conf()",
            "SELECT pg_stat_reset()",
            "SELECT pg_switch_wal()",
            "SELECT passwd FROM pg_shadow",
            "SELECT rolpassword FROM pg_authid",
            "SELECT loid FROM pg_largeobject",
        ],
    )
    .await;
    let mut busy = both.db.tenant(both.there).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid() AS secret_of_the_other")
        .fetch_one(busy.conn())
        .await
        .unwrap();
    for end in ["pg_terminate_backend", "pg_cancel_backend"] {
        let refused = both.refusal(&format!("SELECT {end}({pid})")).await;
        assert_eq!(refused.as_deref(), Some(DENIED), "{end}");
    }
    let seen = "SELECT query FROM pg_stat_activity WHERE pid = ";
    let seen = both.value(&format!("{seen}{pid}")).await;
    assert_eq!(seen.as_deref(), Some("<insufficient privilege>"));
    busy.commit().await.unwrap();
}

#[tokio::test]
async fn what_all_roles_share_is_closed() {
    let both = Neighbours::new().await;
    both.all_refused(
        DENIED,
        &[
            "SELECT lo_creat(-1)",
            "SELECT lo_create(0)",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT lo_open(1, 131072)",
            "SELECT lo_get(1)",
            "SELECT lo_put(1, 0, 'x')",
            "SELECT lo_unlink(1)",
            "SELECT loread(0, 1)",
            "SELECT lowrite(0, 'x')",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_lock_shared(1)",
            "SELECT pg_advisory_xact_lock(1, 2)",
            "SELECT pg_try_advisory_lock(1)",
            "SELECT pg_try_advisory_xact_lock(1)",
            "SELECT pg_notify('bulkhead_jobs', 'default')",
        ],
    )
    .await;
    // No sequence has been used by this session, and there is none.
    both.all_refused("55000", &["SELECT lastval()", "PREPARE TRANSACTION 'x'"])
        .await;
    both.all_refused("42P01", &["SELECT nextval('numbers')", "SELECT currval('numbers')"])
        .await;
}

#[tokio::test]
async fn what_a_tenant_may_do_to_itself_changes_nothing_for_others_or_for_its_next_entry() {
    let both = Neighbours::new().await;
    for harmless in [
        "GRANT SELECT ON members TO PUBLIC",
        "GRANT SELECT ON members TO {other}",
        "ALTER ROLE {here} PASSWORD 'x'",
        "ALTER ROLE {here} SET role = {other}",
        "ALTER ROLE {here} SET search_path = {other}",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "SELECT pg_advisory_unlock_all()",
        "SELECT setseed(0.5)",
    ] {
        both.commit(harmless).await;
        let who = both.value("SELECT current_user || ' ' || current_schema()").await;
        assert_eq!(who, Some(both.fill("{here} {here}")), "{harmless}");
    }
    let mut other = both.db.tenant(both.there).await.unwrap();
    let sql = both.fill("SELECT FROM {here}.members");
    assert_eq!(refusal(other.conn(), &sql).await.as_deref(), Some(DENIED));
}

#[tokio::test]
async fn the_catalog_tells_opaque_names_and_no_data() {
    let both = Neighbours::new().await;
    let mut admin = both.test.connect("postgres").await;
    let person = "INSERT INTO {other}.members (identity_id, email, first_name, last_name) \
                  SELECT gen_random_uuid(), 'secret-' || n || '@example.com', 'A', 'B' FROM generate_series(1, 50) AS n; \
                  ANALYZE {other}.members";
    run(&mut admin, &both.fill(person)).await;
    let statistics = "SELECT count(*)::text FROM pg_stats WHERE schemaname = '{other}'";
    assert_eq!(both.value(statistics).await.as_deref(), Some("0"));
    let seen: i64 = sqlx::query_scalar(AssertSqlSafe(
        both.fill("SELECT count(*) FROM pg_stats WHERE schemaname = '{other}'"),
    ))
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(seen > 0, "there were statistics to hide");
    for hidden in [
        "SELECT count(*)::text FROM information_schema.tables WHERE table_schema = '{other}'",
        "SELECT count(*)::text FROM pg_description WHERE description IN ('here', 'there')",
        "SELECT count(*)::text FROM pg_shdescription WHERE description IN ('here', 'there')",
    ] {
        assert_eq!(both.value(hidden).await.as_deref(), Some("0"), "{hidden}");
    }
    // Names are ids, so this tells that there is somebody, not who.
    let named = "SELECT string_agg(nspname, ',') FROM pg_namespace WHERE nspname ~ 'here'";
    assert_eq!(both.value(named).await, None);
}
