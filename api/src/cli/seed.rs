//! What a new installation starts with.

use bulkhead_compute::templates;
use bulkhead_kernel::origin::Origin;
use bulkhead_tenancy::Db;
use bulkhead_tenants::{NewTenant, TenantError, service};

use super::{CliError, Credentials, operators};

/// Makes the operator, the demo tenant (built by the worker) and the templates; does nothing twice.
pub(super) async fn run(operator: Credentials, slug: &str) -> Result<(), CliError> {
    let config = super::config(operators::NEEDED)?;
    let db = Db::new(&config.database)?;
    let founder = operators::ensure(&config, &db, operator).await?;
    let published = templates::service::seed(&db).await?;
    super::say(&format!("Published {published} new templates."));
    let new = NewTenant::parse("Demo", Some(slug), None).map_err(|violations| {
        let details = violations.into_iter().map(|violation| violation.detail);
        CliError::Argument(format!("{slug}: {}", details.collect::<Vec<_>>().join("; ")))
    })?;
    match service::create(&Origin::system("seed"), &db, founder, &new).await {
        Ok(created) => super::say(&format!("Signed up the tenant {slug} ({}).", created.id)),
        Err(TenantError::SlugTaken) => super::say(&format!("The tenant {slug} is there.")),
        Err(error) => return Err(CliError::Tenant(error)),
    }
    Ok(())
}
