//! Reads recipients.

use bulkhead_kernel::{email::Email, ids::IdentityId};
use bulkhead_tenancy::{ControlTx, DbError};

/// Who a mail goes to.
pub(crate) struct Recipient {
    /// `None` is an address that mail cannot be sent to.
    pub(crate) email: Option<Email>,
    pub(crate) first_name: String,
}

pub(crate) async fn find(tx: &mut ControlTx, identity: IdentityId) -> Result<Option<Recipient>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT i.email, i.first_name
        FROM control.identities AS i
        WHERE i.id = $1
        "#,
        identity.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Recipient {
        email: row.email.parse().ok(),
        first_name: row.first_name,
    }))
}
