//! Carrying a move out, step by step.
//!
//! A step ends with one transaction at home that leads to the next state and holds the job's lease. What it does in
//! other clusters commits before that, and is nothing the second time.

use std::time::Duration;

use bulkhead_jobs::Run;
use bulkhead_kernel::{ids::MoveId, telemetry::fields};
use bulkhead_tenancy::{CopyIn, CopyOut, Db, DbError, OwnerTx, SCHEMA_VERSION, Table};
use tokio::time::{Instant, sleep};

use super::{CARRIED, Move, MoveError, MoveState, rounds::Purpose, store};
use crate::{TenantError, placement};

/// For the rows of one table.
pub(super) const PATIENCE: Duration = Duration::from_mins(30);

/// How long what still uses the tenant may take to come to an end while nobody can write. Then it is thawed, and frozen
/// again later.
const DRAIN: Duration = Duration::from_secs(3);

/// How often that is tried. The pauses between grow to ten seconds, so that it lasts some minutes: jobs of a worker that died
/// end with their leases.
const FREEZES: i32 = 20;

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Carries the move out from wherever it is, under the lease of a job where one does it. A failure before the switch
/// aborts the move, which is no failure of whoever carries it out.
pub async fn carry_out(db: &Db, id: MoveId, lease: Option<&Run>) -> Result<(), MoveError> {
    carry_on(db, id, lease, MoveState::Done).await
}

/// The same until this is next, or the move has ended otherwise.
pub async fn carry_on(db: &Db, id: MoveId, lease: Option<&Run>, until: MoveState) -> Result<(), MoveError> {
    let db = db.home();
    while let Some(moved) = find(&db, id).await? {
        if moved.state.is_finished() || moved.state == until {
            break;
        }
        let work = Work {
            from: db.at(&moved.from)?,
            to: db.at(&moved.to)?,
            home: &db,
            lease,
            moved: &moved,
        };
        let Err(error) = work.step().await else { continue };
        let is_elsewhere = find(&db, id).await?.is_none_or(|now| now.state != moved.state);
        if !is_elsewhere {
            work.fail(error).await?;
        }
    }
    Ok(())
}

/// `None` when it is gone with its tenant.
pub(super) async fn find(db: &Db, id: MoveId) -> Result<Option<Move>, DbError> {
    let mut tx = db.control().await?;
    let found = store::get(&mut tx, id, None).await?;
    tx.commit().await?;
    Ok(found)
}

pub(super) struct Work<'a> {
    pub(super) home: &'a Db,
    pub(super) from: Db,
    pub(super) to: Db,
    pub(super) lease: Option<&'a Run>,
    pub(super) moved: &'a Move,
}

impl Work<'_> {
    async fn step(&self) -> Result<(), MoveError> {
        match self.moved.state {
            MoveState::Preparing => self.prepare().await?,
            MoveState::Copying => self.copy().await?,
            MoveState::Verifying => self.verify().await?,
            MoveState::CatchingUp => self.catch_up().await?,
            MoveState::Freezing => self.freeze().await?,
            MoveState::Switching => self.switch().await?,
            MoveState::Releasing => self.release().await?,
            MoveState::Erasing => self.erase().await?,
            MoveState::Aborting => self.abort().await?,
            MoveState::Done | MoveState::Aborted => {}
        }
        tracing::info!(
            { fields::TENANT_ID } = %self.moved.tenant,
            { fields::STEP } = self.moved.state.as_str(),
            move.id = %self.moved.id,
            "move step done"
        );
        Ok(())
    }

    /// Before the switch the move is called off; after it, it is tried again.
    async fn fail(&self, error: MoveError) -> Result<(), MoveError> {
        if error.is_lost() {
            return Err(error);
        }
        let why = causes(&error);
        tracing::warn!(
            { fields::TENANT_ID } = %self.moved.tenant,
            { fields::STEP } = self.moved.state.as_str(),
            { fields::ERROR } = why,
            move.id = %self.moved.id,
            "a move failed"
        );
        let mut tx = self.home.control().await?;
        let can_abort = self.moved.state.can_abort();
        if can_abort {
            store::set_aborting(&mut tx, self.moved.id, None, &why).await?;
        } else {
            store::set_error(&mut tx, self.moved.id, &why).await?;
        }
        if let Some(run) = self.lease {
            run.hold_control(&mut tx).await?;
        }
        tx.commit().await?;
        if can_abort { Ok(()) } else { Err(error) }
    }

    async fn commit(&self, mut home: OwnerTx) -> Result<(), MoveError> {
        if let Some(run) = self.lease {
            run.hold_owner(&mut home).await?;
        }
        Ok(home.commit().await?)
    }

    pub(super) async fn advance(&self, next: MoveState) -> Result<(), MoveError> {
        let mut home = self.home.owner().await?;
        store::advance(&mut home, self.moved, next).await?;
        self.commit(home).await
    }

    /// The move's own row is locked meanwhile, so that nobody who was asleep marks a tenant that has arrived.
    async fn prepare(&self) -> Result<(), MoveError> {
        let version = self.version(&self.from).await?;
        if version != Some(SCHEMA_VERSION) {
            return Err(TenantError::State("The tenant's schema has to be migrated first.").into());
        }
        let mut home = self.home.owner().await?;
        store::advance(&mut home, self.moved, MoveState::Copying).await?;
        store::set_schema_version(&mut home, self.moved.id, SCHEMA_VERSION).await?;
        // Two connections to one database at a time would be all there are.
        if self.moved.from.is_home() {
            home.claim_capture(self.capture()).await?;
        } else {
            let mut here = self.from.owner().await?;
            here.claim_capture(self.capture()).await?;
            here.commit().await?;
        }
        if self.moved.to.is_home() {
            store::mark_home(&mut home, self.moved).await?;
            build(&mut home, self.moved).await?;
        } else {
            let mut there = self.to.owner().await?;
            store::mark_resident(&mut there, self.moved).await?;
            build(&mut there, self.moved).await?;
            there.commit().await?;
        }
        self.commit(home).await
    }

    pub(super) async fn version(&self, db: &Db) -> Result<Option<i64>, DbError> {
        let mut tx = db.owner().await?;
        let resident = placement::store::find_resident(&mut tx, self.moved.tenant).await?;
        tx.commit().await?;
        Ok(resident.and_then(|(_, version)| version))
    }

    async fn freeze(&self) -> Result<(), MoveError> {
        let mut home = self.home.owner().await?;
        store::freeze(&mut home, self.moved).await?;
        self.commit(home).await?;
        placement::service::follow(self.home, self.moved.tenant).await?;
        if !self.drain().await? {
            return self.unfreeze().await;
        }
        self.round(Purpose::Last).await?;
        self.advance(MoveState::Switching).await
    }

    /// Waits until whoever entered before the freeze has left, jobs have ended and machines are let go; `false` when that
    /// takes too long.
    async fn drain(&self) -> Result<bool, MoveError> {
        let began = Instant::now();
        let mut entered: Option<Vec<String>> = None;
        loop {
            let mut tx = self.from.owner().await?;
            let now = tx.list_entered().await?;
            let busy = store::count_busy(&mut tx, self.moved.tenant).await?;
            tx.commit().await?;
            let first = entered.get_or_insert_with(|| now.clone());
            first.retain(|transaction| now.contains(transaction));
            if first.is_empty() && busy == 0 {
                return Ok(true);
            }
            if began.elapsed() > DRAIN {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }

    async fn unfreeze(&self) -> Result<(), MoveError> {
        if self.moved.n_freezes >= FREEZES {
            return Err(MoveError::Busy("what uses the tenant does not come to an end"));
        }
        let mut home = self.home.owner().await?;
        store::unfreeze(&mut home, self.moved).await?;
        store::advance(&mut home, self.moved, MoveState::CatchingUp).await?;
        self.commit(home).await?;
        Ok(placement::service::follow(self.home, self.moved.tenant).await?)
    }

    /// Each table as it is in a moment of its own: all that changes meanwhile is captured, and carried over later.
    async fn copy(&self) -> Result<(), MoveError> {
        let mut copied = store::Copied::default();
        for table in self.begin_capture().await? {
            self.require_current().await?;
            let mut target = self.hold(&self.to).await?;
            target.enter_tenant_schema(self.moved.tenant).await?;
            let there = same(&target.tables().await?, &table)?;
            // A load commits as a whole, so a table that has rows has all of them.
            if target.is_empty(&there).await? {
                let mut source = self.from.owner().await?;
                source.begin_transfer(PATIENCE).await?;
                source.enter_tenant_schema(self.moved.tenant).await?;
                let rows = source.copy_out(&table).await?;
                let into = target.copy_in(&there, PATIENCE).await?;
                let (rows, bytes) = pipe(rows, into).await?;
                source.commit().await?;
                target.end_copy_in(&there).await?;
                target.analyze(&there).await?;
                copied.rows += rows;
                copied.bytes += bytes;
            }
            target.commit().await?;
            copied.tables += 1;
        }
        let mut home = self.home.owner().await?;
        store::set_copied(&mut home, self.moved.id, copied).await?;
        store::advance(&mut home, self.moved, MoveState::Verifying).await?;
        self.commit(home).await
    }

    /// A transaction in a half that belongs to this move.
    pub(super) async fn hold(&self, db: &Db) -> Result<OwnerTx, DbError> {
        let mut tx = db.owner().await?;
        tx.begin_transfer(PATIENCE).await?;
        tx.hold_frozen(self.moved.tenant, self.moved.id.uuid()).await?;
        Ok(tx)
    }

    async fn switch(&self) -> Result<(), MoveError> {
        let tenant = self.moved.tenant;
        let mut carried = Vec::new();
        if !self.moved.to.is_home() {
            let (mut source, mut target) = (self.from.owner().await?, self.hold(&self.to).await?);
            carried = carry(&mut source, &mut target, self.moved).await?;
            source.commit().await?;
            target.commit().await?;
        }
        if !self.moved.from.is_home() {
            let mut source = self.hold(&self.from).await?;
            store::close(&mut source, self.moved).await?;
            source.commit().await?;
        }
        let shard = self.shard().await?;
        let mut home = self.home.owner().await?;
        store::advance(&mut home, self.moved, MoveState::Releasing).await?;
        if self.moved.to.is_home() {
            let mut source = self.from.owner().await?;
            carry(&mut source, &mut home, self.moved).await?;
            source.commit().await?;
        } else if self.moved.from.is_home() {
            // Last first: a row that goes takes those that hang on it along, and they would not be counted.
            for (name, rows) in CARRIED.iter().zip(carried).rev() {
                let table = home.shared_table(name).await?.ok_or(MoveError::State)?;
                let deleted = home.delete_all_shared_rows(&table, tenant).await?;
                if i64::try_from(deleted) != Ok(rows) {
                    return Err(MoveError::Differs(format!("{name} has changed meanwhile")));
                }
            }
        }
        store::switch(&mut home, self.moved, shard).await?;
        self.commit(home).await
    }

    async fn shard(&self) -> Result<Option<i16>, DbError> {
        let mut target = self.to.owner().await?;
        let resident = placement::store::find_resident(&mut target, self.moved.tenant).await?;
        target.commit().await?;
        Ok(resident.and_then(|(shard, _)| shard))
    }

    async fn release(&self) -> Result<(), MoveError> {
        placement::service::follow(self.home, self.moved.tenant).await?;
        let mut home = self.home.owner().await?;
        store::set_thawed(&mut home, self.moved.id).await?;
        store::advance(&mut home, self.moved, MoveState::Erasing).await?;
        self.commit(home).await
    }

    /// The source goes last, when nothing is left to prove.
    async fn erase(&self) -> Result<(), MoveError> {
        self.validate_foreign_keys().await?;
        self.remove_half(&self.from).await?;
        self.end_capture().await?;
        self.advance(MoveState::Done).await
    }

    async fn abort(&self) -> Result<(), MoveError> {
        let mut home = self.home.owner().await?;
        store::thaw(&mut home, self.moved).await?;
        store::set_thawed(&mut home, self.moved.id).await?;
        self.commit(home).await?;
        placement::service::follow(self.home, self.moved.tenant).await?;
        self.end_capture().await?;
        self.remove_half(&self.to).await?;
        self.advance(MoveState::Aborted).await
    }

    /// Takes away what a cluster holds of the tenant for this move. Done before: nothing.
    async fn remove_half(&self, db: &Db) -> Result<(), MoveError> {
        let tenant = self.moved.tenant;
        loop {
            let mut tx = match self.hold(db).await {
                Ok(tx) => tx,
                Err(DbError::LeaseLost) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let is_gone = tx.drop_some_of_tenant(tenant).await?;
            if is_gone && db.cluster().is_home() {
                store::clear_home(&mut tx, self.moved).await?;
            } else if is_gone {
                for name in tx.list_shared_tables().await? {
                    if let Some(table) = tx.shared_table(&name).await? {
                        tx.delete_all_shared_rows(&table, tenant).await?;
                    }
                }
                placement::store::delete_resident(&mut tx, tenant).await?;
            }
            tx.commit().await?;
            if is_gone {
                return Ok(());
            }
        }
    }
}

/// The tenant's half as a new tenant has it, empty and without foreign keys.
async fn build(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    tx.create_tenant_role(moved.tenant).await?;
    tx.create_tenant_schema(moved.tenant).await?;
    tx.migrate_tenant_schema(moved.tenant).await?;
    tx.enter_tenant_schema(moved.tenant).await?;
    tx.drop_foreign_keys().await
}

/// The rows of the tables in [`CARRIED`], in their order, and how many there are of each. What the target has of them
/// from an earlier attempt goes first; home never has any.
async fn carry(source: &mut OwnerTx, target: &mut OwnerTx, moved: &Move) -> Result<Vec<i64>, MoveError> {
    let mut carried = Vec::with_capacity(CARRIED.len());
    source.begin_transfer(PATIENCE).await?;
    target.begin_transfer(PATIENCE).await?;
    for name in CARRIED {
        let table = source.shared_table(name).await?.ok_or(MoveError::State)?;
        let known: Vec<Table> = target.shared_table(name).await?.into_iter().collect();
        let there = same(&known, &table)?;
        if !moved.to.is_home() {
            target.delete_all_shared_rows(&there, moved.tenant).await?;
        }
        let rows = source.copy_shared_out(&table, moved.tenant).await?;
        let into = target.copy_shared_in(&there).await?;
        carried.push(pipe(rows, into).await?.0);
    }
    Ok(carried)
}

/// The table of this name and with these columns.
pub(super) fn same(tables: &[Table], table: &Table) -> Result<Table, MoveError> {
    let found = tables.iter().find(|there| there.name() == table.name());
    let found = found.and_then(|there| there.only(table.columns()));
    found.ok_or_else(|| MoveError::Differs(format!("{} has other columns there", table.name())))
}

/// How many rows and bytes went through.
pub(super) async fn pipe(mut rows: CopyOut<'_>, mut into: CopyIn<'_>) -> Result<(i64, i64), DbError> {
    let mut n_bytes = 0;
    while let Some(piece) = rows.next().await? {
        n_bytes += i64::try_from(piece.len()).unwrap_or_default();
        into.send(&piece).await?;
    }
    let n_rows = into.finish().await?;
    Ok((i64::try_from(n_rows).unwrap_or(i64::MAX), n_bytes))
}

fn causes(error: &MoveError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
