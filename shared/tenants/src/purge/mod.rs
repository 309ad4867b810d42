//! Removing a tenant whose grace is over, step by step, until nothing is left but a signed receipt.
//!
//! Each step is a row that says whether it is done and what it removed. One transaction of the provisioner locks the
//! row, removes a bounded piece and writes down how much; so a purge goes on where the last worker died, and counts
//! nothing twice. Steps that cannot go on yet are looked at again later, for ever: a purge has no last attempt.
//!
//! - New work stopped with the deletion: nobody enters, jobs are parked, and machines are left alone until here.
//! - Machines go first and through their providers. While one is left the tenant stays.
//! - The last step removes the tenant's own row, and with it the slug's, and writes the receipt.
//!
//! Absent here: Redis. No key of today's carries a tenant (shared/traffic counts addresses and accounts).

mod model;
pub(crate) mod store;

use std::{error::Error, iter::successors};

use bulkhead_iam::tokens::Keys;
use bulkhead_kernel::{
    ids::{ReceiptId, TenantId},
    page::{Page, PageRequest},
    telemetry::fields,
};
use bulkhead_tenancy::{Db, DbError, OwnerTx, TableRows};

pub use model::{RECEIPT_TYPE, Receipt};
use model::{Removed, Statement, Step};

use crate::{Keeper, TenantError, placement};

/// Rows deleted in one transaction.
const BATCH: u16 = 5_000;

/// How a piece of a step ended.
enum Piece {
    /// The step has more to remove.
    More(Vec<TableRows>),
    /// The step is done.
    Done(Vec<TableRows>),
    /// Others have to do something first.
    Wait,
    /// The tenant is gone.
    Gone(ReceiptId),
}

/// Purges the tenant as far as it goes now.
pub(crate) async fn run(keeper: &Keeper, tenant: TenantId) {
    if let Err(error) = begin(&keeper.db, tenant).await {
        tracing::warn!({ fields::TENANT_ID } = %tenant, error = &error as &dyn Error, "a purge cannot begin");
        return;
    }
    for step in Step::ALL {
        match run_step(keeper, tenant, step).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let causes = causes(&error);
                tracing::warn!(
                    { fields::TENANT_ID } = %tenant,
                    { fields::STEP } = step.name(),
                    { fields::ERROR } = causes,
                    "a purge step failed"
                );
                record_failure(&keeper.db, tenant, step, &causes).await;
                return;
            }
        }
    }
}

/// From here on there is no restore. Done before: nothing.
async fn begin(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    let mut tx = db.owner().await?;
    if store::set_started(&mut tx, tenant).await? {
        let names: Vec<String> = Step::ALL.iter().map(|step| step.name().to_owned()).collect();
        store::insert_steps(&mut tx, tenant, &names).await?;
    }
    tx.commit().await?;
    placement::service::follow(db, tenant).await
}

/// Runs a step piece by piece; `false` when it has to wait.
async fn run_step(keeper: &Keeper, tenant: TenantId, step: Step) -> Result<bool, TenantError> {
    loop {
        let mut tx = keeper.db.owner().await?;
        match store::lock_step(&mut tx, tenant, step.name()).await? {
            // Another worker has brought the purge to its end.
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) => {}
        }
        match piece(keeper, &mut tx, tenant, step).await? {
            Piece::More(removed) => {
                store::add_removed(&mut tx, tenant, step.name(), &removed, false).await?;
                tx.commit().await?;
            }
            Piece::Done(removed) => {
                store::add_removed(&mut tx, tenant, step.name(), &removed, true).await?;
                tx.commit().await?;
                tracing::info!({ fields::TENANT_ID } = %tenant, { fields::STEP } = step.name(), "purge step done");
                return Ok(true);
            }
            Piece::Wait => {
                store::put_off(&mut tx, tenant, step.name()).await?;
                tx.commit().await?;
                return Ok(false);
            }
            Piece::Gone(receipt) => {
                tx.commit().await?;
                tracing::info!({ fields::TENANT_ID } = %tenant, receipt.id = %receipt, "tenant.purged");
                return Ok(false);
            }
        }
    }
}

async fn piece(keeper: &Keeper, tx: &mut OwnerTx, tenant: TenantId, step: Step) -> Result<Piece, TenantError> {
    Ok(match step {
        Step::Machines if (keeper.remove_machines)(tenant).await.map_err(TenantError::Machines)? => Piece::Done(vec![]),
        Step::Machines => Piece::Wait,
        Step::Receipt => Piece::Gone(write_receipt(keeper, tx, tenant).await?),
        _ => match placement::service::elsewhere(&keeper.db, tx, tenant).await? {
            None => remove(tx, tenant, step).await?,
            Some(cluster) => remove_there(&cluster, tx, tenant, step).await?,
        },
    })
}

/// A piece in the tenant's cluster, which commits there first; when nothing is left there, the one at home. Rows that
/// went with a crash between the two commits are missing in the receipt.
async fn remove_there(cluster: &Db, tx: &mut OwnerTx, tenant: TenantId, step: Step) -> Result<Piece, DbError> {
    let mut there = cluster.owner().await?;
    let piece = remove(&mut there, tenant, step).await?;
    if let (Step::Rows, Piece::Done(_)) = (step, &piece) {
        placement::store::delete_resident(&mut there, tenant).await?;
    }
    there.commit().await?;
    let Piece::Done(removed) = piece else { return Ok(piece) };
    Ok(match remove(tx, tenant, step).await? {
        Piece::Done(more) => Piece::Done(sum(removed, more)),
        Piece::More(more) => Piece::More(sum(removed, more)),
        other => other,
    })
}

/// One entry for each table: what was removed is kept by name.
fn sum(mut removed: Vec<TableRows>, more: Vec<TableRows>) -> Vec<TableRows> {
    for TableRows { table, rows } in more {
        match removed.iter_mut().find(|known| known.table == table) {
            Some(known) => known.rows += rows,
            None => removed.push(TableRows { table, rows }),
        }
    }
    removed
}

async fn remove(tx: &mut OwnerTx, tenant: TenantId, step: Step) -> Result<Piece, DbError> {
    Ok(match step {
        Step::Machines | Step::Receipt => Piece::Done(vec![]),
        Step::Jobs => delete_rows(tx, tenant, &["jobs".to_owned()]).await?,
        Step::Tables => {
            let dropped = tx.drop_tenant_tables(tenant).await?;
            let dropped: Vec<_> = dropped.into_iter().map(|table| within("tenant", table)).collect();
            if dropped.is_empty() {
                Piece::Done(dropped)
            } else {
                Piece::More(dropped)
            }
        }
        Step::Schema => {
            tx.drop_tenant_schema(tenant).await?;
            Piece::Done(vec![])
        }
        Step::Rows => {
            let tables = tx.list_shared_tables().await?;
            delete_rows(tx, tenant, &tables).await?
        }
    })
}

/// Deletes from one table after the other until the batch is full.
async fn delete_rows(tx: &mut OwnerTx, tenant: TenantId, tables: &[String]) -> Result<Piece, DbError> {
    let mut removed = Vec::new();
    for table in tables {
        let rows = tx.delete_shared_rows(table, tenant, BATCH).await?;
        let table = table.clone();
        removed.push(within("control", TableRows { table, rows }));
        if rows == i64::from(BATCH) {
            return Ok(Piece::More(removed));
        }
    }
    Ok(Piece::Done(removed))
}

fn within(schema: &str, TableRows { table, rows }: TableRows) -> TableRows {
    TableRows {
        table: format!("{schema}.{table}"),
        rows,
    }
}

/// Signs what was removed, keeps it, and removes the tenant itself.
async fn write_receipt(keeper: &Keeper, tx: &mut OwnerTx, tenant: TenantId) -> Result<ReceiptId, TenantError> {
    let mut removed = Removed::default();
    for rows in store::list_removed(tx, tenant).await? {
        removed.add(&rows);
    }
    let receipt = ReceiptId::new();
    let asked = store::get_deletion(tx, tenant).await?;
    let statement = Statement::new(&keeper.issuer, receipt, tenant, &asked, &removed, keeper.clock.now());
    let keys = Keys::load(&keeper.keys_dir).map_err(TenantError::Keys)?;
    let signed = keys
        .sign_statement(RECEIPT_TYPE, &statement)
        .map_err(TenantError::Sign)?;
    store::insert_receipt(tx, receipt, tenant, &signed).await?;
    store::delete_tenant(tx, tenant).await?;
    Ok(receipt)
}

/// For operators, and for the next look, which comes later with each failure.
async fn record_failure(db: &Db, tenant: TenantId, step: Step, causes: &str) {
    let recorded = async {
        let mut tx = db.owner().await?;
        store::set_failed(&mut tx, tenant, step.name(), causes).await?;
        tx.commit().await
    };
    let recorded: Result<(), DbError> = recorded.await;
    if let Err(error) = recorded {
        tracing::debug!(error = &error as &dyn Error, "a failed purge step was not recorded");
    }
}

/// An error and its sources in one line.
fn causes(error: &TenantError) -> String {
    let causes = successors(Some(error as &dyn Error), |error: &&dyn Error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The receipt with this id. For operators.
pub async fn receipt(db: &Db, id: ReceiptId) -> Result<Receipt, TenantError> {
    let mut tx = db.control().await?;
    let found = store::find_receipt(&mut tx, id).await?;
    tx.commit().await?;
    found.ok_or(TenantError::NoReceipt)
}

/// Receipts, the newest first; only that of one tenant where one is named. For operators.
pub async fn receipts(db: &Db, tenant: Option<TenantId>, page: PageRequest) -> Result<Page<Receipt>, TenantError> {
    let mut tx = db.control().await?;
    let receipts = store::list_receipts(&mut tx, tenant, page).await?;
    tx.commit().await?;
    Ok(receipts)
}
