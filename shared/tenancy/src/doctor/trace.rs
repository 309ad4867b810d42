//! What may be left on a server process after a tenant was there.

use sqlx::{Row, postgres::PgRow};

use crate::{Db, DbError};

/// As the login, outside of any tenant. Settings that drivers and poolers make for every client are none of a tenant's:
/// a pooler sends them again to whichever process it hands out.
const SEARCH: &str = "
    SELECT pg_catalog.pg_backend_pid() AS backend,
           CASE WHEN current_user <> session_user OR pg_catalog.current_setting('role') <> 'none'
                THEN 'the role ' || current_user END AS role,
           (SELECT 'the settings ' || pg_catalog.string_agg(s.name || ' = ' || s.setting, ', ')
            FROM pg_catalog.pg_settings AS s
            WHERE s.source = 'session'
              AND s.setting IS DISTINCT FROM s.reset_val
              AND s.name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone',
                                 'standard_conforming_strings', 'extra_float_digits', 'IntervalStyle')) AS settings,
           'the mark ' || nullif(pg_catalog.current_setting('bulkhead.canary', true), '') AS mark,
           (SELECT 'advisory locks' FROM pg_catalog.pg_locks AS l
            WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'advisory' LIMIT 1) AS locks,
           (SELECT 'a subscription to ' || c.name FROM pg_catalog.pg_listening_channels() AS c (name) LIMIT 1) AS channels,
           (SELECT 'the cursor ' || c.name FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable LIMIT 1) AS cursors,
           CASE WHEN pg_catalog.pg_my_temp_schema() <> 0 THEN 'temporary objects' END AS temporary,
           CASE WHEN pg_catalog.current_setting('DateStyle') NOT LIKE 'ISO%'
                THEN 'DateStyle ' || pg_catalog.current_setting('DateStyle') END AS dates";

/// What a search of a server process found.
pub(super) struct Traces {
    pub(super) backend: i32,
    /// In words; none where nothing was left.
    pub(super) left: Vec<String>,
    /// A way of writing dates that reads cannot take.
    pub(super) dates: Option<String>,
}

/// Searches the server process that this client is given now.
pub(super) async fn search(db: &Db) -> Result<Traces, DbError> {
    let row = db.as_tenant_login(SEARCH).await?;
    let text = |column| row.try_get::<Option<String>, _>(column);
    let columns = ["role", "settings", "mark", "locks", "channels", "cursors", "temporary"];
    let mut left = Vec::new();
    for column in columns {
        left.extend(text(column)?);
    }
    Ok(Traces {
        backend: row.try_get("backend")?,
        left,
        dates: text("dates")?,
    })
}

/// What one look inside a tenant shows.
pub(super) struct Look {
    pub(super) backend: i32,
    pub(super) who: String,
    pub(super) schema: Option<String>,
    pub(super) own: i64,
    pub(super) foreign: i64,
}

impl TryFrom<&PgRow> for Look {
    type Error = sqlx::Error;

    fn try_from(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            backend: row.try_get("backend")?,
            who: row.try_get("who")?,
            schema: row.try_get("schema")?,
            own: row.try_get("own")?,
            foreign: row.try_get("foreign")?,
        })
    }
}
