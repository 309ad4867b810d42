//! The caller's sessions as a list, and the end of one of them from elsewhere.

use bulkhead_kernel::{
    ids::SessionId,
    page::{Page, PageRequest},
};
use tracing::instrument;

use super::{Device, SessionError, store};
use crate::{Iam, Person};

/// One page of the caller's sessions that are open, the one used last first.
#[instrument(skip_all)]
pub async fn list(iam: &Iam, caller: &Person, page: PageRequest) -> Result<Page<Device>, SessionError> {
    let mut tx = iam.db.control().await?;
    let devices = store::list(&mut tx, caller.identity, caller.session, iam.clock.now(), page).await?;
    tx.commit().await?;
    Ok(devices)
}

/// Ends one of the caller's sessions. One of somebody else is as little there as one that ended before.
#[instrument(skip_all)]
pub async fn end(iam: &Iam, caller: &Person, session: SessionId) -> Result<(), SessionError> {
    let mut tx = iam.db.control().await?;
    let has_ended = store::set_own_revoked(&mut tx, caller.identity, session, iam.clock.now()).await?;
    tx.commit().await?;
    iam.forget_session(session);
    if has_ended { Ok(()) } else { Err(SessionError::NotFound) }
}
