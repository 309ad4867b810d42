//! The migrations of the schema `control`, embedded in the binary.

use std::borrow::Cow;

use bulkhead_kernel::secret::Secret;
use percent_encoding::percent_decode_str;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use url::Url;

static EMBEDDED: Migrator = sqlx::migrate!("../../migrations/control");

/// Brings the schema `control` to the newest version, and gives the two logins the passwords in their URLs. Several
/// processes may do it at once; they wait for each other.
pub async fn migrate_control(owner_url: &Secret, login_urls: [&Secret; 2]) -> Result<(), MigrateError> {
    let options: PgConnectOptions = owner_url.expose().parse()?;
    let mut connection = options.connect().await?;
    let mut migrator = Migrator {
        migrations: Cow::Borrowed(&EMBEDDED.migrations),
        ..Migrator::DEFAULT
    };
    migrator.create_schema("control");
    migrator.dangerous_set_table_name("control.migrations");
    migrator.run(&mut connection).await?;
    for url in login_urls {
        if let Ok(url) = Url::parse(url.expose()) {
            set_password(&mut connection, &url).await?;
        }
    }
    Ok(())
}

async fn set_password(connection: &mut PgConnection, url: &Url) -> Result<(), sqlx::Error> {
    let Some(password) = url.password() else {
        return Ok(());
    };
    let statement = sqlx::query_scalar!(
        r#"
        SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text) AS "statement!"
        "#,
        url.username(),
        &*percent_decode_str(password).decode_utf8_lossy(),
    )
    .fetch_one(&mut *connection)
    .await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    Ok(())
}
