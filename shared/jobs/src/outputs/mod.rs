//! What an attempt leaves behind: for the next one a checkpoint, for the tenant a file or the code of an error.

mod store;

use bulkhead_kernel::fault::Fault;
use bulkhead_tenancy::{DbError, TenantTx};
use serde_json::Value;

use crate::{Outcome, Run};

/// A file that a job came to, 4 MiB at most; more is refused by the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// What it is called.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Run {
    /// How far the work was when it was last committed; `None` at the beginning. Keeps the lease until `tx` ends.
    pub async fn checkpoint(&self, tx: &mut TenantTx) -> Result<Option<Value>, DbError> {
        store::get_checkpoint(tx.conn(), self.job, self.token).await
    }

    /// Keeps how far the work is, 64 KiB of JSON at most, with the effects of `tx`: what is done is never done again, by
    /// later attempts, after a retry by hand, or in another cluster. Keeps the lease as [`Run::hold`] does.
    pub async fn set_checkpoint(&self, tx: &mut TenantTx, checkpoint: &Value) -> Result<(), DbError> {
        store::set_checkpoint(tx.conn(), self.job, self.token, checkpoint).await
    }

    /// Keeps the file that the job came to, which the tenant can download as long as there is the job. Nothing happens for
    /// a job of the platform. Keeps the lease as [`Run::hold`] does.
    pub async fn set_file(&self, tx: &mut TenantTx, file: &JobFile) -> Result<(), DbError> {
        store::set_file(tx.conn(), self.job, self.token, file).await
    }

    /// The outcome that stands for the fault, whose code the tenant sees if the job ends with it.
    pub async fn fail<F: Fault>(&self, fault: &F) -> Outcome {
        let outcome = Outcome::of(fault);
        if self.is_visible && matches!(outcome, Outcome::Retry(_) | Outcome::Discard(_)) {
            let noted = self.note_error(fault.code().as_str()).await;
            if let Err(error) = noted {
                return Outcome::of(&error);
            }
        }
        outcome
    }

    async fn note_error(&self, code: &str) -> Result<(), DbError> {
        let mut tx = self.db.control().await?;
        store::note_error(tx.conn(), self.job, self.token, code).await?;
        tx.commit().await
    }
}
