//! The doors of `control` that stand open to the tenant login and to tenant roles, each with the reason why it may.

use bulkhead_kernel::ids::{JobId, TenantId, VmId};
use bulkhead_tenancy::Db;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::harness::{TestDb, run};

/// Each function of `control` that somebody but its owner may call: who, and why that is safe. A new grant fails the
/// matrix until it has its line here.
pub(super) const GRANTED: &[(&str, &str, &str)] = &[
    (
        "control.has_parked_jobs(text)",
        "bulkhead_control",
        "says of a status whether jobs wait in it; looks at nothing",
    ),
    (
        "control.has_parked_jobs(text,uuid)",
        "bulkhead_control",
        "the same of a status and the move that has frozen the tenant",
    ),
    (
        "control.enter_tenant(uuid,bigint,integer,bigint,bigint,boolean)",
        "bulkhead_tenant",
        "the entry itself, with the caller's own rights: it cannot take a role that the login is not a member of",
    ),
    (
        "control.enter_tenant(uuid,bigint,integer)",
        "bulkhead_tenant",
        "the entry of the release before 0006; the same, and it refuses whatever is not active",
    ),
    (
        "control.check_tenant(uuid,bigint)",
        "bulkhead_tenant",
        "used by the entry above; tells the state of a tenant to the login, which may read that column anyway",
    ),
    (
        "control.current_tenant()",
        "bulkhead_tenants",
        "tells a tenant role its own id",
    ),
    (
        "control.enqueue_job(uuid,text,text,jsonb,smallint,smallint,bigint,bigint,boolean,text,text,text,text)",
        "bulkhead_tenants",
        "the row's tenant is the role's; an id that is taken is refused",
    ),
    (
        "control.hold_lease(uuid,uuid)",
        "bulkhead_tenants",
        "locks a job of the role's tenant or of the platform, for who knows its random token; writes nothing",
    ),
    (
        "control.hold_lease(uuid,uuid)",
        "bulkhead_control",
        "the same from a transaction on control",
    ),
    (
        "control.insert_job(uuid,uuid,text,text,jsonb,smallint,smallint,bigint,bigint,boolean,text,text,text,text)",
        "bulkhead_control",
        "with the caller's own rights; that login writes the table anyway",
    ),
    (
        "control.set_job_result(uuid,uuid,jsonb)",
        "bulkhead_tenants",
        "writes a job of the role's tenant or of the platform, for who knows its random token",
    ),
    (
        "control.set_job_result(uuid,uuid,jsonb)",
        "bulkhead_control",
        "the same from a transaction on control",
    ),
    (
        "control.claim_jobs(text[],text,bigint,uuid,integer,integer)",
        "bulkhead_control",
        "with the caller's own rights; that login writes the table anyway",
    ),
    (
        "control.cancel_job(uuid)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.retry_job(uuid)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.note_progress(uuid,uuid,bigint,bigint)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.log_job(uuid,uuid,text,text,integer)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.note_job_error(uuid,uuid,text)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.get_job_checkpoint(uuid,uuid)",
        "bulkhead_tenants",
        "reads of a job of the role's tenant or of the platform, for who knows its random token",
    ),
    (
        "control.set_job_checkpoint(uuid,uuid,jsonb)",
        "bulkhead_tenants",
        "writes a job of the role's tenant or of the platform, for who knows its random token",
    ),
    (
        "control.set_job_file(uuid,uuid,text,text,bytea)",
        "bulkhead_tenants",
        "adds to a job of the role's tenant, for who knows its random token",
    ),
    (
        "control.job_word(text,boolean,timestamp with time zone)",
        "bulkhead_control",
        "says a state in the words of the API; looks at nothing",
    ),
    (
        "control.job_error(text,text,smallint,timestamp with time zone,timestamp with time zone)",
        "bulkhead_control",
        "says an error as a code; looks at nothing",
    ),
    (
        "control.try_job_again(uuid)",
        "bulkhead_control",
        "with the caller's own rights",
    ),
    (
        "control.list_own_jobs(uuid,text,text,timestamp with time zone,timestamp with time zone,uuid,integer)",
        "bulkhead_tenants",
        "visible jobs of the role's tenant, without their payload and error",
    ),
    (
        "control.list_own_job_events(uuid,integer,integer)",
        "bulkhead_tenants",
        "only of a visible job of the role's tenant",
    ),
    (
        "control.get_own_job_file(uuid)",
        "bulkhead_tenants",
        "only of a visible job of the role's tenant",
    ),
    (
        "control.set_own_job_times(uuid,timestamp with time zone,timestamp with time zone)",
        "bulkhead_tenants",
        "only a visible job of the role's tenant that waits",
    ),
    (
        "control.cancel_own_job(uuid)",
        "bulkhead_tenants",
        "only a visible job of the role's tenant",
    ),
    (
        "control.retry_own_job(uuid)",
        "bulkhead_tenants",
        "only a visible job of the role's tenant",
    ),
    (
        "control.member_names(uuid)",
        "bulkhead_tenants",
        "the names of somebody who belongs to the role's tenant, which has a copy of them",
    ),
    (
        "control.is_session_live(uuid,timestamp with time zone)",
        "bulkhead_tenants",
        "one bit about a session whose random id the caller must know",
    ),
    (
        "control.is_account_on(uuid)",
        "bulkhead_tenants",
        "one bit about a member of the role's tenant",
    ),
    (
        "control.touch_vm_work(uuid,text)",
        "bulkhead_tenants",
        "the row's tenant is the role's, and a row of another tenant stays as it is",
    ),
    (
        "control.hold_vm_lease(uuid,bigint,bigint)",
        "bulkhead_tenants",
        "only a row of the role's tenant",
    ),
    (
        "control.place_vm_work(uuid,bigint,text)",
        "bulkhead_tenants",
        "only a row of the role's tenant",
    ),
    (
        "control.list_vm_templates()",
        "bulkhead_tenants",
        "templates are the platform's and the same for all",
    ),
    (
        "control.set_membership(uuid,text,text)",
        "bulkhead_tenants",
        "the row's tenant is the role's; tells of a random id whether it is somebody's",
    ),
    (
        "control.delete_membership(uuid)",
        "bulkhead_tenants",
        "only the row of the role's tenant",
    ),
    (
        "control.await_membership(uuid,text,text)",
        "bulkhead_tenants",
        "the row's tenant is the role's; what it says of whom shows in the index for that tenant and no other",
    ),
    (
        "control.apply_membership(uuid,uuid,text,text,bigint,bigint)",
        "bulkhead_control",
        "with the caller's own rights, which are to write the index",
    ),
    (
        "control.create_invited_identity(text,text,text,text,timestamp with time zone)",
        "bulkhead_tenants",
        "makes people who are nobody yet and touches none who are; tells of an address whether it is somebody's",
    ),
    (
        "control.create_invited_identity(text,text,text,text,timestamp with time zone)",
        "bulkhead_control",
        "the same from a transaction on control, which may write people anyway",
    ),
    (
        "control.await_sealing()",
        "bulkhead_tenants",
        "the row's tenant is the role's, and it says nothing but that there is something to seal",
    ),
    (
        "control.hardening()",
        "bulkhead_control",
        "reads the catalog, with the caller's own rights",
    ),
];

/// What a tenant has in the shared tables, made so that a function that forgot to ask whose it is would find it: the
/// token of the job is its id, and the machine is leased under epoch 1.
async fn possessions(admin: &mut PgConnection, tenant: TenantId) -> [String; 3] {
    let (job, vm, tenant) = (JobId::new().uuid(), VmId::new().uuid(), tenant.uuid());
    let rows = format!(
        "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, state, attempt, max_attempts, lease_token, \
                                   lease_until, principal, request_id, is_visible) \
         VALUES ('{job}', 'test.kept', 'default', '{tenant}', '{{}}', 'running', 1, 3, '{job}', now() + interval '1 day', \
                 'p', 'r', true); \
         INSERT INTO control.vm_work (vm_id, tenant_id, provider_identity, due_at, lease_owner, lease_epoch, lease_until) \
         VALUES ('{vm}', '{tenant}', 'identity of {vm}', NULL, 'w', 1, now() + interval '1 day')"
    );
    run(admin, &rows).await;
    [job, vm, tenant].map(|id| id.to_string())
}

/// Every row of `control` that is not this tenant's own, as one text.
async fn rows_of_others(admin: &mut PgConnection, tenant: TenantId) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT a.attrelid::regclass::text FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid \
         WHERE c.relnamespace = 'control'::regnamespace AND c.relkind = 'r' AND a.attname = 'tenant_id' ORDER BY 1",
    )
    .fetch_all(&mut *admin)
    .await
    .unwrap();
    assert!(tables.len() >= 4, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let sql = format!(
            "SELECT coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '') FROM {table} AS r \
             WHERE r.tenant_id IS DISTINCT FROM '{}'",
            tenant.uuid()
        );
        let rows: String = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *admin)
            .await
            .unwrap();
        all = format!("{all}{table}\n{rows}\n");
    }
    all
}

/// Calls of every function that tenant roles may call, with `id` wherever a UUID goes.
async fn calls_with(admin: &mut PgConnection, id: &str) -> Vec<String> {
    let calls: Vec<String> = sqlx::query_scalar(
        r"
        SELECT format('SELECT %s(%s)', p.oid::regproc,
                      (SELECT coalesce(string_agg(
                              CASE t.type::regtype::text
                                  WHEN 'uuid' THEN quote_literal($1)
                                  WHEN 'text' THEN quote_literal('default')
                                  WHEN 'jsonb' THEN quote_literal('{}')
                                  WHEN 'bytea' THEN quote_literal('x')
                                  WHEN 'timestamp with time zone' THEN quote_literal('2026-01-01')
                                  ELSE '1'
                                  END || '::' || t.type::regtype, ', ' ORDER BY t.place), '')
                       FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, place)))
        FROM pg_proc AS p
        WHERE p.pronamespace = 'control'::regnamespace
          AND has_function_privilege('bulkhead_tenants', p.oid, 'EXECUTE')
        ",
    )
    .bind(id)
    .fetch_all(admin)
    .await
    .unwrap();
    assert!(calls.len() >= 8, "{calls:?}");
    calls
}

/// Lets `tenant` call all of them with each id; gives how many calls went through.
async fn call_all(db: &Db, admin: &mut PgConnection, tenant: TenantId, ids: &[String]) -> usize {
    let mut n_passed = 0;
    for id in ids {
        for call in calls_with(admin, id).await {
            let mut tx = db.tenant(tenant).await.unwrap();
            if tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(call))).await.is_ok() {
                tx.commit().await.unwrap();
                n_passed += 1;
            }
        }
    }
    n_passed
}

#[tokio::test]
async fn no_function_open_to_tenants_writes_what_belongs_to_another() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    let mut admin = test.connect("postgres").await;
    let ids = possessions(&mut admin, there).await;
    let before = rows_of_others(&mut admin, here).await;
    assert!(ids.iter().all(|id| before.contains(id)), "{before}");
    let n_passed = call_all(&db, &mut admin, here, &ids).await;
    assert!(n_passed >= ids.len(), "nearly nothing was called");
    assert_eq!(rows_of_others(&mut admin, here).await, before);

    // The same look sees it when one of them forgets to ask.
    let careless = "CREATE OR REPLACE FUNCTION control.place_vm_work(p_vm uuid, p_epoch bigint, p_provider text) RETURNS void \
                    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS \
                    'UPDATE control.vm_work SET provider = p_provider WHERE vm_id = p_vm AND lease_epoch = p_epoch'";
    run(&mut admin, careless).await;
    call_all(&db, &mut admin, here, &ids).await;
    assert_ne!(rows_of_others(&mut admin, here).await, before);
}

#[tokio::test]
async fn a_job_of_another_tenant_cannot_be_held_even_by_who_knows_its_token() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    let mut admin = test.connect("postgres").await;
    let [job, ..] = possessions(&mut admin, there).await;
    let hold = format!("SELECT control.hold_lease('{job}', '{job}')");
    let mut tx = db.tenant(here).await.unwrap();
    assert_eq!(super::refusal(tx.conn(), &hold).await.as_deref(), Some("BH410"));
    let mut tx = db.tenant(there).await.unwrap();
    assert_eq!(super::refusal(tx.conn(), &hold).await, None);
    drop(tx);
    let mut tx = db.control().await.unwrap();
    assert_eq!(super::refusal(tx.conn(), &hold).await, None);
    drop(tx);
    run(
        &mut admin,
        "UPDATE control.jobs SET is_visible = false, tenant_id = NULL",
    )
    .await;
    let mut tx = db.tenant(here).await.unwrap();
    assert_eq!(super::refusal(tx.conn(), &hold).await, None);
}

#[tokio::test]
async fn an_address_that_somebody_has_stays_theirs_whichever_tenant_invites_it() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let here = test.tenant(&db, "here").await;
    let mut admin = test.connect("postgres").await;
    let somebody = "INSERT INTO control.identities (id, email, first_name, last_name) \
                    VALUES (gen_random_uuid(), 'ada@example.com', 'Ada', 'Lovelace')";
    run(&mut admin, somebody).await;
    let people = "SELECT coalesce(string_agg(i::text, E'\\n' ORDER BY i.email), '') FROM control.identities AS i";
    let before: String = sqlx::query_scalar(people).fetch_one(&mut admin).await.unwrap();
    let mut tx = db.tenant(here).await.unwrap();
    let make = "SELECT control.create_invited_identity($1, 'hash', 'Eve', 'E', now())";
    let mut made = Vec::new();
    for email in ["ada@example.com", "bob@example.com", "bob@example.com"] {
        let id: Option<uuid::Uuid> = sqlx::query_scalar(make).bind(email).fetch_one(tx.conn()).await.unwrap();
        made.push(id.is_some());
    }
    assert_eq!(made, [false, true, false]);
    tx.commit().await.unwrap();
    let after: String = sqlx::query_scalar(people).fetch_one(&mut admin).await.unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == 2, "{after}");
}
