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

/// Brings the schema `control` to the newest version, and gives the logins of control and of all shards the passwords in
/// their URLs. Several processes may do it at once; they wait for each other.
pub async fn migrate_control(owner_url: &Secret, [control_url, tenant_url]: [&Secret; 2]) -> Result<(), MigrateError> {
    let options: PgConnectOptions = owner_url.expose().parse()?;
    let mut connection = options.connect().await?;
    let mut migrator = Migrator {
        migrations: Cow::Borrowed(&EMBEDDED.migrations),
        ..Migrator::DEFAULT
    };
    migrator.create_schema("control");
    migrator.dangerous_set_table_name("control.migrations");
    migrator.run(&mut connection).await?;
    if let Ok(url) = Url::parse(control_url.expose()) {
        set_password(&mut connection, url.username(), control_url).await?;
    }
    for login in shard_logins(&mut connection).await? {
        set_password(&mut connection, &login, tenant_url).await?;
    }
    Ok(())
}

/// The logins of all shards, with the rights that `bulkhead_tenant` has by now.
async fn shard_logins(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let made = sqlx::query_scalar!(
        r#"
        SELECT control.shard_login(shard) AS "login!"
        FROM control.shards
        CROSS JOIN LATERAL control.make_shard_login(shard)
        ORDER BY shard
        "#
    );
    made.fetch_all(connection).await
}

/// Gives a login the password that the URL holds; without one it keeps what it has.
pub(crate) async fn set_password(connection: &mut PgConnection, login: &str, url: &Secret) -> Result<(), sqlx::Error> {
    let url = Url::parse(url.expose()).ok();
    let Some(password) = url.as_ref().and_then(Url::password) else {
        return Ok(());
    };
    let statement = sqlx::query_scalar!(
        r#"
        SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text) AS "statement!"
        "#,
        login,
        &*percent_decode_str(password).decode_utf8_lossy(),
    )
    .fetch_one(&mut *connection)
    .await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    Ok(())
}
