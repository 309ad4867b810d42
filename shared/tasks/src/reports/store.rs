//! What is counted, over the tables of several nouns: a report reads them and owns none of them.

use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};

use super::model::Count;

fn count(of: String, measure: &'static str, value: i64) -> Count {
    Count {
        of,
        day: None,
        measure,
        value,
    }
}

/// Members by status.
pub(super) async fn members(tx: &mut TenantTx) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT status, count(*) AS "n!"
        FROM members
        GROUP BY status
        ORDER BY status
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| count(row.status, "count", row.n)).collect())
}

/// Who has each role.
pub(super) async fn roles(tx: &mut TenantTx) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.name, count(g.identity_id) AS "n!"
        FROM roles AS r
                 LEFT JOIN member_roles AS g ON g.role_id = r.id
        GROUP BY r.id, r.name
        ORDER BY lower(r.name)
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| count(row.name, "members", row.n)).collect())
}

/// Things by type.
pub(super) async fn resources(tx: &mut TenantTx) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT type AS kind, count(*) AS "n!"
        FROM resources
        GROUP BY type
        ORDER BY type
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| count(row.kind, "count", row.n)).collect())
}

/// Machines by their public status, and what they take together.
pub(super) async fn machines(tx: &mut TenantTx) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT last_stable, count(*) AS "n!", sum(cpu) AS "cpu!", sum(memory_gb) AS "memory_gb!", sum(disk_gb) AS "disk_gb!"
        FROM vms
        WHERE phase <> 'DELETED'
        GROUP BY last_stable
        ORDER BY last_stable
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    let counts = rows.into_iter().flat_map(|row| {
        let measures = [
            ("count", row.n),
            ("vcpu", row.cpu),
            ("memory_gb", row.memory_gb),
            ("disk_gb", row.disk_gb),
        ];
        measures.map(|(measure, value)| count(row.last_stable.clone(), measure, value))
    });
    Ok(counts.collect())
}

/// What was done, by action and day.
pub(super) async fn audit_events(
    tx: &mut TenantTx,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Count>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT action, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS "day!", count(*) AS "n!"
        FROM audit_events
        WHERE occurred_at >= $1
          AND occurred_at < $2
        GROUP BY 1, 2
        ORDER BY 2, 1
        "#,
        from,
        to,
    )
    .fetch_all(tx.conn())
    .await?;
    let counts = rows.into_iter().map(|row| Count {
        day: Some(row.day),
        ..count(row.action, "count", row.n)
    });
    Ok(counts.collect())
}
