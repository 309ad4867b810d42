//! Rows of `members` and `member_roles` in a schema being filled, and of `control.identities` and `control.memberships`.

use bulkhead_kernel::ids::{IdentityId, TenantId};
use bulkhead_tenancy::{DbError, OwnerTx};
use uuid::Uuid;

use super::Person;
use crate::permissions::SystemRole;

/// A person of the archive and who that is here.
pub(super) struct Link {
    theirs: Uuid,
    ours: Uuid,
    is_proved: bool,
}

fn column<T>(people: &[Person], of: impl Fn(&Person) -> T) -> Vec<T> {
    people.iter().map(of).collect()
}

/// Makes identities for those whose id and address are both unknown.
pub(super) async fn insert_unknown(tx: &mut OwnerTx, people: &[Person]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.identities (id, email, first_name, last_name)
        SELECT p.id, p.email, p.first_name, p.last_name
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS p (id, email, first_name, last_name)
        WHERE NOT EXISTS (SELECT FROM control.identities AS i WHERE i.id = p.id)
        ON CONFLICT (email) DO NOTHING
        "#,
        &column(people, |person| person.id.uuid()),
        &column(people, |person| person.email.clone()),
        &column(people, |person| person.first_name.clone()),
        &column(people, |person| person.last_name.clone()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Who they are here: by id first, then by address, which counts as theirs once it is verified.
pub(super) async fn find_links(tx: &mut OwnerTx, people: &[Person]) -> Result<Vec<Link>, DbError> {
    let links = sqlx::query_as!(
        Link,
        r#"
        SELECT p.id                                              AS "theirs!",
               i.id                                              AS "ours!",
               (i.id = p.id OR i.email_verified_at IS NOT NULL)  AS "is_proved!"
        FROM unnest($1::uuid[], $2::text[]) AS p (id, email)
                 JOIN LATERAL (SELECT k.id, k.email_verified_at
                               FROM control.identities AS k
                               WHERE k.id = p.id
                                  OR k.email = p.email
                               ORDER BY k.id = p.id DESC
                               LIMIT 1) AS i ON true
        "#,
        &column(people, |person| person.id.uuid()),
        &column(people, |person| person.email.clone()),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(links)
}

/// The member who has the address of this person of ours under another id.
pub(super) async fn find_namesake(tx: &mut OwnerTx, identity: IdentityId) -> Result<Vec<Link>, DbError> {
    let links = sqlx::query_as!(
        Link,
        r#"
        SELECT m.identity_id AS theirs, i.id AS ours, true AS "is_proved!"
        FROM control.identities AS i
                 JOIN members AS m ON m.email = i.email AND m.identity_id <> i.id
        WHERE i.id = $1
          AND NOT EXISTS (SELECT FROM members AS own WHERE own.identity_id = i.id)
        "#,
        identity.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(links)
}

/// Gives members the ids they have here. One statement: the key that ties both tables is looked at when it ends.
pub(super) async fn set_member_ids(tx: &mut OwnerTx, links: &[Link]) -> Result<(), DbError> {
    let moved = || links.iter().filter(|link| link.theirs != link.ours);
    let theirs: Vec<Uuid> = moved().map(|link| link.theirs).collect();
    let ours: Vec<Uuid> = moved().map(|link| link.ours).collect();
    if theirs.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH link AS (SELECT l.theirs, l.ours FROM unnest($1::uuid[], $2::uuid[]) AS l (theirs, ours)),
             moved AS (
                 UPDATE members AS m
                 SET identity_id = link.ours
                 FROM link
                 WHERE m.identity_id = link.theirs
             )
        UPDATE member_roles AS g
        SET identity_id = link.ours
        FROM link
        WHERE g.identity_id = link.theirs
        "#,
        &theirs,
        &ours,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert_memberships(
    tx: &mut OwnerTx,
    tenant: TenantId,
    people: &[Person],
    links: &[Link],
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.memberships (identity_id, tenant_id, role, status)
        SELECT l.ours, $1, p.role, CASE WHEN p.is_active AND l.is_proved THEN 'active' ELSE 'inactive' END
        FROM unnest($2::uuid[], $3::text[], $4::boolean[]) AS p (id, role, is_active)
                 JOIN unnest($5::uuid[], $6::uuid[], $7::boolean[]) AS l (theirs, ours, is_proved) ON l.theirs = p.id
        "#,
        tenant.uuid(),
        &column(people, |person| person.id.uuid()),
        &column(people, |person| person.role.clone()),
        &column(people, |person| person.is_active),
        &links.iter().map(|link| link.theirs).collect::<Vec<_>>(),
        &links.iter().map(|link| link.ours).collect::<Vec<_>>(),
        &links.iter().map(|link| link.is_proved).collect::<Vec<_>>(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_unlinked_inactive(tx: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE members AS m
        SET status = 'inactive'
        WHERE m.status = 'active'
          AND NOT EXISTS (SELECT
                          FROM control.memberships AS s
                          WHERE s.tenant_id = $1
                            AND s.identity_id = m.identity_id
                            AND s.status = 'active')
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_active(tx: &mut OwnerTx, identity: IdentityId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE members
        SET status = 'active'
        WHERE identity_id = $1
        "#,
        identity.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn upsert_membership(
    tx: &mut OwnerTx,
    tenant: TenantId,
    identity: IdentityId,
    role: SystemRole,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.memberships (identity_id, tenant_id, role)
        VALUES ($1, $2, $3)
        ON CONFLICT (identity_id, tenant_id) DO UPDATE SET role = EXCLUDED.role, status = 'active'
        "#,
        identity.uuid(),
        tenant.uuid(),
        role.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
