//! What leads the target's half after the source's while members go on changing it (docs/adr/0020).
//!
//! A round reads, in one look at the source, the keys captured since the round before and the present state of those rows.
//! What the target has under these keys is replaced by it and compared. So a round leads the target from one state of the
//! source to another: what was the same before and did not change is the same, and what changed was compared.

use std::time::Duration;

use bulkhead_tenancy::{Capture, DbError, OwnerTx, Table};
use tokio::time::{Instant, sleep};

use super::{
    MoveError, MoveState,
    steps::{PATIENCE, Work, find, pipe, same},
};

/// So few changes are carried over in a moment, whatever else the machines do.
const FEW: i64 = 1_000;

/// A round that was this quick is followed by one that is no longer.
const QUICK: Duration = Duration::from_millis(500);

/// After so many rounds none of which was small none will be.
const ROUNDS: u32 = 100;

/// How often the locks of a table are asked for until its changes are captured, or are no more.
const ATTEMPTS: u32 = 50;

/// What else a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing else.
    Live,
    /// All rows of both halves are compared.
    Whole,
    /// Nobody writes any more: the foreign keys come back.
    Last,
}

impl Work<'_> {
    pub(super) const fn capture(&self) -> Capture {
        Capture {
            tenant: self.moved.tenant,
            by: self.moved.id.uuid(),
        }
    }

    /// [`DbError::LeaseLost`] when the move was called off, or carried on by somebody else.
    pub(super) async fn require_current(&self) -> Result<(), MoveError> {
        let now = find(self.home, self.moved.id).await?;
        let is_current = now.is_some_and(|now| now.state == self.moved.state);
        is_current.then_some(()).ok_or_else(|| DbError::LeaseLost.into())
    }

    /// All tables of the tenant, when every change of them is captured. A table's lock is had from one writer to the next, or
    /// asked for again.
    pub(super) async fn begin_capture(&self) -> Result<Vec<Table>, MoveError> {
        let (tables, captured) = {
            let mut source = self.from.owner().await?;
            source.enter_tenant_schema(self.moved.tenant).await?;
            let seen = (source.tables().await?, source.list_captured(self.capture()).await?);
            source.commit().await?;
            seen
        };
        for table in &tables {
            if table.key().is_empty() {
                return Err(MoveError::Differs(format!("{} has no primary key", table.name())));
            }
            if captured.iter().any(|name| name == table.name()) {
                continue;
            }
            let mut attempt = 0;
            while let Err(error) = self.capture_table(table).await {
                attempt += 1;
                wait_for_lock(error, attempt).await?;
            }
        }
        Ok(tables)
    }

    async fn capture_table(&self, table: &Table) -> Result<(), DbError> {
        let mut source = self.from.owner_in_passing().await?;
        source.enter_tenant_schema(self.moved.tenant).await?;
        source.capture_table(table, self.capture()).await?;
        source.commit().await
    }

    /// No change is captured any more, and none is kept. Done before, or where the tables are gone: nothing.
    pub(super) async fn end_capture(&self) -> Result<(), MoveError> {
        let mut source = self.from.owner().await?;
        source.release_capture(self.capture()).await?;
        source.commit().await?;
        let mut attempt = 0;
        loop {
            match self.drop_capture().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    attempt += 1;
                    wait_for_lock(error, attempt).await?;
                }
            }
        }
        let mut source = self.from.owner().await?;
        source.forget_changes(self.capture()).await?;
        Ok(source.commit().await?)
    }

    async fn drop_capture(&self) -> Result<bool, DbError> {
        let mut source = self.from.owner_in_passing().await?;
        source.enter_tenant_schema(self.moved.tenant).await?;
        let has_more = source.drop_capture(self.capture()).await?;
        source.commit().await?;
        Ok(has_more)
    }

    /// Both halves hold the same, every row of them, at one moment; later only changes are looked at.
    pub(super) async fn verify(&self) -> Result<(), MoveError> {
        self.round(Purpose::Whole).await?;
        self.advance(MoveState::CatchingUp).await
    }

    /// Until so little is left that a freeze is short. Where one was in vain there is a pause before the next.
    pub(super) async fn catch_up(&self) -> Result<(), MoveError> {
        let n_freezes = u64::try_from(self.moved.n_freezes).unwrap_or_default();
        sleep(Duration::from_secs(n_freezes.min(10))).await;
        for _ in 0..ROUNDS {
            self.require_current().await?;
            let began = Instant::now();
            if self.round(Purpose::Live).await? < FEW || began.elapsed() < QUICK {
                return self.advance(MoveState::Freezing).await;
            }
        }
        Err(MoveError::Busy("it changes faster than it can be copied"))
    }

    /// Gives how many changes were carried over. The target commits first: what the source has not forgotten is done again.
    pub(super) async fn round(&self, purpose: Purpose) -> Result<i64, MoveError> {
        self.require_version().await?;
        let mut source = self.from.owner_snapshot().await?;
        source.begin_transfer(PATIENCE).await?;
        source.enter_tenant_schema(self.moved.tenant).await?;
        let mut target = self.hold(&self.to).await?;
        target.enter_tenant_schema(self.moved.tenant).await?;
        let tables = self.paired(&mut source, &mut target).await?;
        target.drop_foreign_keys().await?;
        let n_changes = self.apply(&mut source, &mut target, &tables).await?;
        if purpose == Purpose::Last {
            for key in source.list_foreign_keys().await? {
                target.add_foreign_key(&key).await?;
            }
        }
        target.commit().await?;
        if purpose == Purpose::Whole {
            self.compare(&mut source, &tables).await?;
        }
        source.forget_changes(self.capture()).await?;
        source.commit().await?;
        tracing::debug!(move.id = %self.moved.id, n_changes, ?purpose, "a round of a move");
        Ok(n_changes)
    }

    async fn require_version(&self) -> Result<(), MoveError> {
        let versions = (self.version(&self.from).await?, self.version(&self.to).await?);
        if versions == (self.moved.schema_version, self.moved.schema_version) {
            return Ok(());
        }
        Err(MoveError::Differs("the schemas have different versions".into()))
    }

    /// Each table and its copy. A table whose changes are not captured has no copy that can be believed.
    async fn paired(&self, source: &mut OwnerTx, target: &mut OwnerTx) -> Result<Vec<(Table, Table)>, MoveError> {
        let (tables, there) = (source.tables().await?, target.tables().await?);
        if tables.len() != there.len() {
            return Err(MoveError::Differs("the schemas have different tables".into()));
        }
        let captured = source.list_captured(self.capture()).await?;
        if let Some(table) = tables
            .iter()
            .find(|table| !captured.iter().any(|name| name == table.name()))
        {
            return Err(MoveError::Differs(format!(
                "changes of {} were not captured",
                table.name()
            )));
        }
        let copies = tables.into_iter().map(|table| {
            let copy = same(&there, &table)?;
            Ok((table, copy))
        });
        copies.collect()
    }

    async fn apply(
        &self,
        source: &mut OwnerTx,
        target: &mut OwnerTx,
        tables: &[(Table, Table)],
    ) -> Result<i64, MoveError> {
        let capture = self.capture();
        let changes = source.count_changes(capture).await?;
        pipe(source.copy_changes_out(capture).await?, target.copy_changes_in().await?).await?;
        for (table, copy) in tables {
            if !changes.iter().any(|(name, _)| name == table.name()) {
                continue;
            }
            target.delete_changed(copy, capture).await?;
            let rows = source.copy_changed_out(table, capture).await?;
            pipe(rows, target.copy_in(copy, PATIENCE).await?).await?;
            target.end_copy_in(copy).await?;
            if source.checksum_changed(table, capture).await? != target.checksum_changed(copy, capture).await? {
                return Err(differs(table));
            }
        }
        target.forget_changes(capture).await?;
        Ok(changes.iter().map(|(_, n)| n).sum())
    }

    async fn compare(&self, source: &mut OwnerTx, tables: &[(Table, Table)]) -> Result<(), MoveError> {
        let mut target = self.to.owner().await?;
        target.begin_transfer(PATIENCE).await?;
        target.enter_tenant_schema(self.moved.tenant).await?;
        for (table, copy) in tables {
            let (here, there) = tokio::join!(source.checksum(table), target.checksum(copy));
            if here? != there? {
                return Err(differs(table));
            }
        }
        Ok(target.commit().await?)
    }

    /// Every row was compared with one for which they hold; now the server knows as well.
    pub(super) async fn validate_foreign_keys(&self) -> Result<(), MoveError> {
        let mut target = self.to.owner().await?;
        target.enter_tenant_schema(self.moved.tenant).await?;
        let keys = target.list_foreign_keys().await?;
        target.commit().await?;
        for key in keys.iter().filter(|key| !key.is_valid()) {
            let mut target = self.to.owner().await?;
            target.begin_transfer(PATIENCE).await?;
            target.enter_tenant_schema(self.moved.tenant).await?;
            target.validate_foreign_key(key).await?;
            target.commit().await?;
        }
        Ok(())
    }
}

fn differs(table: &Table) -> MoveError {
    MoveError::Differs(format!("{} is not the same on both sides", table.name()))
}

/// Before the lock is asked for again, longer each time and up to a second; at last the error.
async fn wait_for_lock(error: DbError, attempt: u32) -> Result<(), DbError> {
    if attempt >= ATTEMPTS || !matches!(error, DbError::Unavailable(_)) {
        return Err(error);
    }
    sleep(Duration::from_millis(u64::from(attempt) * 20).min(Duration::from_secs(1))).await;
    Ok(())
}
