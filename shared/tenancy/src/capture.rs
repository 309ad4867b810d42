//! Following a tenant that changes while it is copied: triggers keep the keys of what changes in `control.move_changes`, and
//! the present state of those rows is read, written and compared (docs/adr/0020).
//!
//! Whatever names a table or a column here comes from the catalog, as in [`crate::transfer`].

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use uuid::Uuid;

use crate::{Checksum, CopyIn, CopyOut, Db, DbError, OwnerTx, Table, transfer::quote};

/// Who waits for the lock of a table makes everybody wait who comes later.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// For a statement of a transaction of the provisioner.
const STATEMENT_PATIENCE: Duration = Duration::from_mins(1);

/// The tenant whose changes are captured, and the move for which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Whose changes.
    pub tenant: TenantId,
    /// For which move.
    pub by: Uuid,
}

impl Capture {
    fn rows(self) -> String {
        format!("c.tenant_id = '{}' AND c.move_id = '{}'", self.tenant.uuid(), self.by)
    }

    /// The keys of the rows of a table that have changed, each once.
    fn keys(self, table: &Table) -> String {
        let columns: Vec<String> = table.key().iter().map(|name| format!("k.{}", quote(name))).collect();
        format!(
            "SELECT DISTINCT {columns} FROM control.move_changes AS c \
             CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, c.key) AS k \
             WHERE {rows} AND c.table_name = {name}",
            columns = columns.join(", "),
            table = quote(table.name()),
            rows = self.rows(),
            name = literal(table.name()),
        )
    }
}

impl Db {
    /// A transaction of the provisioner that gives up soon on a lock that somebody else holds.
    pub async fn owner_in_passing(&self) -> Result<OwnerTx, DbError> {
        OwnerTx::begin_with(self.owner_slots(), LOCK_PATIENCE, STATEMENT_PATIENCE, "").await
    }

    /// A transaction of the provisioner that sees everything as it is with its first look.
    pub async fn owner_snapshot(&self) -> Result<OwnerTx, DbError> {
        let first = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        OwnerTx::begin_with(self.owner_slots(), STATEMENT_PATIENCE, STATEMENT_PATIENCE, first).await
    }
}

impl OwnerTx {
    /// Names the move for which changes are captured here from now on.
    pub async fn claim_capture(&mut self, capture: Capture) -> Result<(), DbError> {
        sqlx::query!(
            r#"
            UPDATE control.tenants
            SET captured_by = $2
            WHERE id = $1
              AND captured_by IS DISTINCT FROM $2
            "#,
            capture.tenant.uuid(),
            capture.by,
        )
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Nobody captures for this move any more; a trigger made already does so until it is dropped.
    pub async fn release_capture(&mut self, capture: Capture) -> Result<(), DbError> {
        sqlx::query!(
            r#"
            UPDATE control.tenants
            SET captured_by = NULL
            WHERE id = $1
              AND captured_by = $2
            "#,
            capture.tenant.uuid(),
            capture.by,
        )
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Captures what changes in a table of the tenant whose schema this transaction has entered, for every writer from the
    /// commit on, and for none that has written before; [`DbError::LeaseLost`] unless the capture is this move's.
    pub async fn capture_table(&mut self, table: &Table, capture: Capture) -> Result<(), DbError> {
        let held = sqlx::query_scalar!(
            r#"
            SELECT true AS "held!"
            FROM control.tenants
            WHERE id = $1
              AND captured_by = $2
                FOR NO KEY UPDATE
            "#,
            capture.tenant.uuid(),
            capture.by,
        )
        .fetch_optional(self.conn())
        .await?;
        held.ok_or(DbError::LeaseLost)?;
        let name = quote(table.name());
        let key: Vec<String> = table.key().iter().map(|column| literal(column)).collect();
        let arguments = format!("'{}', '{}', {}", capture.by, capture.tenant.uuid(), key.join(", "));
        // Always: also where triggers rest for who restores or replicates.
        self.run_ddl(format!(
            "CREATE OR REPLACE TRIGGER bulkhead_capture AFTER INSERT OR UPDATE OR DELETE ON {name} \
                 FOR EACH ROW EXECUTE FUNCTION control.capture_change({arguments}); \
             CREATE OR REPLACE TRIGGER bulkhead_capture_all BEFORE TRUNCATE ON {name} \
                 FOR EACH STATEMENT EXECUTE FUNCTION control.capture_change({arguments}); \
             ALTER TABLE {name} ENABLE ALWAYS TRIGGER bulkhead_capture, ENABLE ALWAYS TRIGGER bulkhead_capture_all"
        ))
        .await
    }

    /// The tables of the tenant whose schema this transaction has entered all changes of which are captured for this move.
    pub async fn list_captured(&mut self, capture: Capture) -> Result<Vec<String>, DbError> {
        let captured = sqlx::query_scalar!(
            r#"
            SELECT c.relname::text AS "name!"
            FROM pg_catalog.pg_trigger AS g
                     JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
            WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = current_schema())
              AND g.tgfoid = 'control.capture_change()'::regprocedure
              AND g.tgenabled = 'A'
              AND starts_with(encode(g.tgargs, 'escape'), $1::text)
            GROUP BY c.relname
            HAVING count(*) = 2
            "#,
            capture.by.to_string(),
        )
        .fetch_all(self.conn())
        .await?;
        Ok(captured)
    }

    /// Ends the capture in one table of the tenant whose schema this transaction has entered; `false` when it ended in all.
    pub async fn drop_capture(&mut self, capture: Capture) -> Result<bool, DbError> {
        let captured = sqlx::query!(
            r#"
            SELECT c.relname::text AS "table!", array_agg(g.tgname::text) AS "triggers!"
            FROM pg_catalog.pg_trigger AS g
                     JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
            WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = current_schema())
              AND g.tgfoid = 'control.capture_change()'::regprocedure
              AND starts_with(encode(g.tgargs, 'escape'), $1::text)
            GROUP BY c.relname
            LIMIT 1
            "#,
            capture.by.to_string(),
        )
        .fetch_optional(self.conn())
        .await?;
        let Some(captured) = captured else { return Ok(false) };
        for trigger in captured.triggers {
            let (trigger, table) = (quote(&trigger), quote(&captured.table));
            self.run_ddl(format!("DROP TRIGGER {trigger} ON {table}")).await?;
        }
        Ok(true)
    }

    /// How many changes of each table were captured and are not forgotten.
    pub async fn count_changes(&mut self, capture: Capture) -> Result<Vec<(String, i64)>, DbError> {
        let changes = sqlx::query!(
            r#"
            SELECT table_name, count(*) AS "n!"
            FROM control.move_changes
            WHERE tenant_id = $1
              AND move_id = $2
            GROUP BY table_name
            "#,
            capture.tenant.uuid(),
            capture.by,
        )
        .fetch_all(self.conn())
        .await?;
        Ok(changes.into_iter().map(|row| (row.table_name, row.n)).collect())
    }

    /// Deletes the changes that this transaction sees.
    pub async fn forget_changes(&mut self, capture: Capture) -> Result<(), DbError> {
        sqlx::query!(
            r#"
            DELETE
            FROM control.move_changes
            WHERE tenant_id = $1
              AND move_id = $2
            "#,
            capture.tenant.uuid(),
            capture.by,
        )
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The keys of what has changed, as COPY text.
    pub async fn copy_changes_out(&mut self, capture: Capture) -> Result<CopyOut<'_>, DbError> {
        self.copy_out_by(format!(
            "COPY (SELECT DISTINCT move_id, tenant_id, table_name, key FROM control.move_changes AS c WHERE {}) TO STDOUT",
            capture.rows()
        ))
        .await
    }

    /// Writes such keys.
    pub async fn copy_changes_in(&mut self) -> Result<CopyIn<'_>, DbError> {
        self.copy_in_by("COPY control.move_changes (move_id, tenant_id, table_name, key) FROM STDIN".into())
            .await
    }

    /// The rows that have changed, as they are now, as COPY text. Those that are gone are not among them.
    pub async fn copy_changed_out(&mut self, table: &Table, capture: Capture) -> Result<CopyOut<'_>, DbError> {
        let statement = format!(
            "COPY (SELECT {} FROM {}) TO STDOUT",
            columns_of_changed(table),
            changed(table, capture)
        );
        self.copy_out_by(statement).await
    }

    /// Deletes the rows that have changed, and nothing that refers to them: the schema has no foreign keys meanwhile.
    pub async fn delete_changed(&mut self, table: &Table, capture: Capture) -> Result<(), DbError> {
        self.run_ddl(format!(
            "ALTER TABLE {name} DISABLE TRIGGER USER; DELETE FROM {name} AS t USING ({keys}) AS k WHERE {same}",
            name = quote(table.name()),
            keys = capture.keys(table),
            same = same_key(table),
        ))
        .await
    }

    /// [`OwnerTx::checksum`] of the rows that have changed.
    pub async fn checksum_changed(&mut self, table: &Table, capture: Capture) -> Result<Checksum, DbError> {
        self.checksum_of(&columns_of_changed(table), &changed(table, capture))
            .await
    }

    /// Drops the foreign keys of the tenant whose schema this transaction has entered, so that rows come in any order.
    pub async fn drop_foreign_keys(&mut self) -> Result<(), DbError> {
        for key in self.list_foreign_keys().await? {
            let (table, name) = (quote(&key.table), quote(&key.name));
            self.run_ddl(format!("ALTER TABLE {table} DROP CONSTRAINT {name}"))
                .await?;
        }
        Ok(())
    }

    /// Has a foreign key hold for whatever is written from now on. That it holds for what is there was proved elsewhere, and
    /// is looked at by [`OwnerTx::validate_foreign_key`].
    pub async fn add_foreign_key(&mut self, key: &ForeignKey) -> Result<(), DbError> {
        let (table, name) = (quote(&key.table), quote(&key.name));
        let definition = key.definition.trim_end_matches(" NOT VALID");
        self.run_ddl(format!(
            "ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID"
        ))
        .await
    }

    /// Looks at all rows of the table; readers and writers go on.
    pub async fn validate_foreign_key(&mut self, key: &ForeignKey) -> Result<(), DbError> {
        let (table, name) = (quote(&key.table), quote(&key.name));
        self.run_ddl(format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}"))
            .await
    }

    /// The foreign keys of the tenant whose schema this transaction has entered.
    pub async fn list_foreign_keys(&mut self) -> Result<Vec<ForeignKey>, DbError> {
        let keys = sqlx::query!(
            r#"
            SELECT c.relname::text AS "table!", f.conname::text AS "name!", f.convalidated AS "is_valid!",
                   pg_get_constraintdef(f.oid) AS "definition!"
            FROM pg_catalog.pg_constraint AS f
                     JOIN pg_catalog.pg_class AS c ON c.oid = f.conrelid
            WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = current_schema())
              AND f.contype = 'f'
            ORDER BY 1, 2
            "#,
        )
        .fetch_all(self.conn())
        .await?;
        let keys = keys.into_iter().map(|row| ForeignKey {
            table: row.table,
            name: row.name,
            definition: row.definition,
            is_valid: row.is_valid,
        });
        Ok(keys.collect())
    }

    /// Has the server look at the values of a table, so that it plans well from the first reader on.
    pub async fn analyze(&mut self, table: &Table) -> Result<(), DbError> {
        self.run_ddl(format!("ANALYZE {}", quote(table.name()))).await
    }
}

/// A foreign key as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    table: String,
    name: String,
    definition: String,
    is_valid: bool,
}

impl ForeignKey {
    /// Whether all rows were looked at.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.is_valid
    }
}

fn columns_of_changed(table: &Table) -> String {
    let columns: Vec<String> = table
        .columns()
        .iter()
        .map(|name| format!("t.{}", quote(name)))
        .collect();
    columns.join(", ")
}

/// The rows of a table that have changed and are there, as `t`.
fn changed(table: &Table, capture: Capture) -> String {
    let (keys, name) = (capture.keys(table), quote(table.name()));
    format!("({keys}) AS k JOIN {name} AS t ON {}", same_key(table))
}

fn same_key(table: &Table) -> String {
    let same = table.key().iter().map(|name| {
        let name = quote(name);
        format!("t.{name} = k.{name}")
    });
    same.collect::<Vec<_>>().join(" AND ")
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
