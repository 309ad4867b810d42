//! Attempts that end at the same time are settled in one transaction: each commit waits for the disk, and one wait is
//! enough for all.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use bulkhead_tenancy::{Db, DbError};
use tokio::sync::{Mutex as Turn, oneshot};

use crate::{
    outcome::{Fate, State},
    store::{self, Settlement},
};

/// A settlement and who waits for it; no answer means that it has to be tried alone.
type Waiting = (Settlement, oneshot::Sender<State>);

/// Those that wait while others are written.
#[derive(Default)]
pub(crate) struct Settling {
    waiting: Mutex<Vec<Waiting>>,
    turn: Turn<()>,
}

impl Settling {
    /// Ends the attempt together with whatever else is to be ended. `None` when its lease was lost before.
    pub(crate) async fn settle(&self, db: &Db, settlement: Settlement) -> Result<Option<State>, DbError> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push((settlement.clone(), answer));
        {
            let _turn = self.turn.lock().await;
            // Whoever had the turn before may have written it.
            if let Ok(state) = answered.try_recv() {
                return Ok(Some(state));
            }
            let batch = mem::take(&mut *self.waiting());
            together(db, batch).await;
        }
        if let Ok(state) = answered.try_recv() {
            return Ok(Some(state));
        }
        // Lost, or locked by somebody, or refused for the sake of another: none of that concerns the others.
        let settled = write(db, std::slice::from_ref(&settlement), true).await?;
        Ok(settled.get(&settlement.token).copied())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all that can be written now and answers those.
async fn together(db: &Db, batch: Vec<Waiting>) {
    let (settlements, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    // Whoever gets no answer meets the error again.
    let Ok(settled) = write(db, &settlements, false).await else {
        return;
    };
    for (settlement, answer) in settlements.iter().zip(answers) {
        if let Some(state) = settled.get(&settlement.token) {
            // Nobody waits any more: the attempt was dropped.
            let _ = answer.send(*state);
        }
    }
}

async fn write(
    db: &Db,
    settlements: &[Settlement],
    waits: bool,
) -> Result<std::collections::HashMap<bulkhead_kernel::ids::LeaseToken, State>, DbError> {
    if settlements.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let mut tx = db.control().await?;
    let settled = store::settle(tx.conn(), settlements, waits).await?;
    if settlements.iter().any(|settlement| settlement.fate == Fate::RELEASED) {
        store::notify(tx.conn()).await?;
    }
    tx.commit().await?;
    Ok(settled)
}
