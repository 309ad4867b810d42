//! What the database itself refuses, and how far it is hardened.

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::report::{Check, told};
use crate::{Db, DbError, SchemaName};

/// Tenant roles of one login from which taking a role becomes slow.
const MANY_ROLES: i64 = 1_000;

const DENIED: &str = "42501";

pub(super) async fn server_version(db: &Db) -> Result<String, DbError> {
    // Not through the pooler, which may refuse transactions.
    let mut tx = db.owner().await?;
    let version = sqlx::query_scalar!(r#"SELECT pg_catalog.current_setting('server_version') AS "version!""#)
        .fetch_one(tx.conn())
        .await?;
    tx.commit().await?;
    Ok(version)
}

/// Whether full names get anybody over a wall: the login without a tenant, and one tenant into the other.
pub(super) async fn walls(db: &Db, pair: [TenantId; 2]) -> Result<Check, DbError> {
    let names = pair.map(SchemaName::from);
    let mut open = Vec::new();
    for name in names {
        let statement = format!("SELECT count(*) FROM {name}.roles");
        if let Some(how) = opening(db.as_tenant_login(&statement).await.err()) {
            open.push(format!("the login without a tenant reads {name} ({how})"));
        }
    }
    for (tenant, other) in [(pair[0], names[1]), (pair[1], names[0])] {
        for statement in [
            format!("SELECT count(*) FROM {other}.roles"),
            format!("DELETE FROM {other}.roles"),
        ] {
            let mut tx = match db.tenant(tenant).await {
                Ok(tx) => tx,
                Err(error) => {
                    open.push(format!("a tenant cannot be entered: {}", told(&error)));
                    break;
                }
            };
            let refused = tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(statement.clone()))).await;
            if let Some(how) = opening(refused.err().map(DbError::from)) {
                open.push(format!("{statement} from the other tenant ({how})"));
            }
        }
    }
    let detail = match open.as_slice() {
        [] => "Full names are refused: to the login without a tenant, and from one tenant to the other.".to_owned(),
        open => format!("Not refused: {}.", open.join("; ")),
    };
    Ok(Check::of("walls", open.is_empty(), detail))
}

/// How the statement was let through; nothing when it was denied.
fn opening(refusal: Option<DbError>) -> Option<String> {
    match refusal {
        None => Some("it was done".to_owned()),
        Some(DbError::Failed(sqlx::Error::Database(cause))) if cause.code().as_deref() == Some(DENIED) => None,
        Some(error) => Some(told(&error)),
    }
}

/// What does not change from round to round: how many roles the login may take, and each step of hardening.
pub(super) async fn standing(db: &Db) -> Result<Vec<Check>, DbError> {
    let mut tx = db.owner().await?;
    let roles = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM pg_catalog.pg_auth_members AS m
                 JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
        WHERE r.rolname = 'bulkhead_tenant'
        "#
    )
    .fetch_one(tx.conn())
    .await?;
    let mut checks = vec![
        Check::noted(
            "login_roles",
            roles <= MANY_ROLES,
            format!("The tenant login may take {roles} roles."),
        )
        .or("Taking a role gets slow beyond a thousand: use more logins."),
    ];
    let has_list =
        sqlx::query_scalar!(r#"SELECT pg_catalog.to_regprocedure('control.hardening()') IS NOT NULL AS "has_list!""#)
            .fetch_one(tx.conn())
            .await?;
    let list = if has_list {
        "SELECT step, is_done, what_protects_otherwise AS otherwise FROM control.hardening()"
    } else {
        "SELECT 'set_config is not for PUBLIC' AS step,
                NOT pg_catalog.has_function_privilege('public', 'pg_catalog.set_config(text, text, boolean)', 'EXECUTE')
                    AS is_done,
                'The role of each tenant: what it may not read it cannot be made to read, and only a statement injected into a SELECT could change its settings.'
                    AS otherwise"
    };
    for row in tx.conn().fetch_all(sqlx::raw_sql(AssertSqlSafe(list))).await? {
        let (step, is_done): (String, bool) = (row.try_get("step")?, row.try_get("is_done")?);
        let otherwise: Option<String> = row.try_get("otherwise")?;
        let detail = if is_done {
            format!("Done: {step}.")
        } else {
            format!("Not done: {step}.")
        };
        let check = Check::noted("hardening", is_done, detail);
        checks.push(check.or(format!("What protects instead: {}", otherwise.unwrap_or_default())));
    }
    tx.commit().await?;
    Ok(checks)
}
