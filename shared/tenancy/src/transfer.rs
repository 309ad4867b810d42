//! Whole tables out of a tenant and into one, in PostgreSQL's COPY text.
//!
//! Names of tables and columns go into these statements only as the catalog gives them: a [`Table`] cannot be made from
//! anything else. While a COPY is under way its connection counts as broken, so that one that was given up half-way is
//! closed and never read on by somebody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bulkhead_kernel::ids::TenantId;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream::BoxStream};
use sqlx::{AssertSqlSafe, Executor, PgConnection, postgres::PgCopyIn};

use crate::{DbError, OwnerTx, TenantTx, snapshot::millis};

/// A table of a tenant as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
}

impl Table {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns that can be written, in their order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The columns of its primary key, in the key's order; none where it has no such key.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The same table with these of its columns, in this order; `None` when it lacks one or one is named twice.
    #[must_use]
    pub fn only(&self, columns: &[String]) -> Option<Self> {
        let known = columns.iter().all(|column| self.columns.contains(column));
        let distinct: BTreeSet<_> = columns.iter().collect();
        (known && !columns.is_empty() && distinct.len() == columns.len()).then(|| Self {
            name: self.name.clone(),
            columns: columns.to_vec(),
            key: self.key.clone(),
        })
    }

    pub(crate) fn quoted(&self) -> String {
        format!("{} ({})", quote(&self.name), self.quoted_columns())
    }

    pub(crate) fn quoted_columns(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quote(column)).collect();
        columns.join(", ")
    }
}

pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl TenantTx {
    /// All tables of the tenant; one that refers to another comes after it.
    pub async fn tables(&mut self) -> Result<Vec<Table>, DbError> {
        tables(self.conn()).await
    }

    /// The rows of a table as COPY text: one line each, columns separated by tabs.
    pub async fn copy_out(&mut self, table: &Table) -> Result<CopyOut<'_>, DbError> {
        let statement = format!("COPY {} TO STDOUT", table.quoted());
        let (conn, is_broken) = self.lease_mut().for_copy();
        let rows = conn.copy_out_raw(&statement).await?;
        Ok(CopyOut { rows, is_broken })
    }
}

impl OwnerTx {
    /// [`TenantTx::tables`] of the tenant whose schema this transaction has entered.
    pub async fn tables(&mut self) -> Result<Vec<Table>, DbError> {
        tables(self.conn()).await
    }

    /// Writes COPY text into a table of the tenant whose schema this transaction has entered, without the table's own
    /// triggers: rows that were right elsewhere are taken as they are. Constraints hold. A statement of this transaction
    /// may take as long as `patience` from now on.
    pub async fn copy_in(&mut self, table: &Table, patience: Duration) -> Result<CopyIn<'_>, DbError> {
        let name = quote(table.name());
        let setting = format!(
            "SET LOCAL statement_timeout = {}; ALTER TABLE {name} DISABLE TRIGGER USER",
            millis(patience)
        );
        self.conn().execute(sqlx::raw_sql(AssertSqlSafe(setting))).await?;
        let statement = format!("COPY {} FROM STDIN", table.quoted());
        let (conn, is_broken) = self.lease_mut().for_copy();
        let rows = conn.copy_in_raw(&statement).await?;
        Ok(CopyIn { rows, is_broken })
    }

    /// Puts the table's triggers to work again after [`OwnerTx::copy_in`], before the commit.
    pub async fn end_copy_in(&mut self, table: &Table) -> Result<(), DbError> {
        let statement = format!("ALTER TABLE {} ENABLE TRIGGER USER", quote(table.name()));
        self.conn().execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
        Ok(())
    }

    /// Removes the schema and the role of a tenant that was never open.
    pub async fn drop_unopened_tenant(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let schema = crate::SchemaName::from(tenant);
        let statement = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; DROP ROLE IF EXISTS {schema}");
        self.conn().execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
        Ok(())
    }
}

/// Rows on their way out. Read to its end, or the connection is given up.
pub struct CopyOut<'t> {
    rows: BoxStream<'t, Result<Bytes, sqlx::Error>>,
    is_broken: &'t mut bool,
}

impl<'t> CopyOut<'t> {
    pub(crate) const fn new(rows: BoxStream<'t, Result<Bytes, sqlx::Error>>, is_broken: &'t mut bool) -> Self {
        Self { rows, is_broken }
    }
}

impl CopyOut<'_> {
    /// The next piece; lines may be cut. `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DbError> {
        let piece = self.rows.try_next().await?;
        if piece.is_none() {
            *self.is_broken = false;
        }
        Ok(piece)
    }
}

/// Rows on their way in. Finished, or the connection is given up.
pub struct CopyIn<'t> {
    rows: PgCopyIn<&'t mut PgConnection>,
    is_broken: &'t mut bool,
}

impl<'t> CopyIn<'t> {
    pub(crate) const fn new(rows: PgCopyIn<&'t mut PgConnection>, is_broken: &'t mut bool) -> Self {
        Self { rows, is_broken }
    }
}

impl CopyIn<'_> {
    /// The next piece; lines may be cut.
    pub async fn send(&mut self, piece: &[u8]) -> Result<(), DbError> {
        self.rows.send(piece).await?;
        Ok(())
    }

    /// The end; gives how many rows were written.
    pub async fn finish(self) -> Result<u64, DbError> {
        let n_rows = self.rows.finish().await?;
        *self.is_broken = false;
        Ok(n_rows)
    }
}

pub(crate) async fn tables(conn: &mut PgConnection) -> Result<Vec<Table>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.relname::text AS "name!",
               array_agg(a.attname::text ORDER BY a.attnum) AS "columns!",
               ARRAY(SELECT DISTINCT r.relname::text
                     FROM pg_catalog.pg_constraint AS f
                              JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid
                     WHERE f.conrelid = c.oid
                       AND f.contype = 'f'
                       AND f.confrelid <> c.oid) AS "needs!: Vec<String>",
               ARRAY(SELECT k.attname::text
                     FROM pg_catalog.pg_index AS i
                              CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS p (attnum, place)
                              JOIN pg_catalog.pg_attribute AS k ON k.attrelid = c.oid AND k.attnum = p.attnum
                     WHERE i.indrelid = c.oid
                       AND i.indisprimary
                     ORDER BY p.place) AS "key!: Vec<String>"
        FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = current_schema())
          AND c.relkind = 'r'
          AND a.attnum > 0
          AND NOT a.attisdropped
          AND a.attgenerated = ''
        GROUP BY c.oid, c.relname
        ORDER BY c.relname
        "#,
    )
    .fetch_all(conn)
    .await?;
    let mut needs = BTreeMap::new();
    let mut tables = BTreeMap::new();
    for row in rows {
        needs.insert(row.name.clone(), row.needs.into_iter().collect::<BTreeSet<_>>());
        let table = Table {
            name: row.name.clone(),
            columns: row.columns,
            key: row.key,
        };
        tables.insert(row.name, table);
    }
    let order = in_order(needs);
    Ok(order.iter().filter_map(|name| tables.remove(name)).collect())
}

/// Each name after those it needs. Names that need each other come last, by name.
fn in_order(mut needs: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut order: Vec<String> = Vec::with_capacity(needs.len());
    loop {
        let ready = needs
            .iter()
            .find(|(_, needed)| needed.iter().all(|name| order.contains(name)));
        let Some(name) = ready.map(|(name, _)| name.clone()) else {
            order.extend(needs.into_keys());
            return order;
        };
        needs.remove(&name);
        order.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_after_those_it_needs() {
        let needs = [
            ("a", vec!["b", "c"]),
            ("b", vec!["c"]),
            ("c", vec![]),
            ("x", vec!["y"]),
            ("y", vec!["x"]),
        ];
        let needs = needs.map(|(name, needed)| (name.to_owned(), needed.into_iter().map(str::to_owned).collect()));
        assert_eq!(in_order(BTreeMap::from(needs)), ["c", "b", "a", "x", "y"]);
    }

    #[test]
    fn only_columns_of_the_catalog_come_through_and_each_once() {
        let table = Table {
            name: "odd\"name".into(),
            columns: vec!["id".into(), "b".into()],
            key: vec!["id".into()],
        };
        let only = |columns: &[&str]| table.only(&columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>());
        assert_eq!(only(&["b", "id"]).unwrap().quoted(), r#""odd""name" ("b", "id")"#);
        assert_eq!(only(&["id", "id"]), None);
        assert_eq!(only(&["id", "c) FROM STDIN; DROP TABLE x; --"]), None);
        assert_eq!(only(&[]), None);
    }
}
