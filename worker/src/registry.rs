//! The one list: which job is run by what.

use bulkhead_compute::{reconcile::Reconciler, vms::ReconcileVm};
use bulkhead_jobs::Registry;
use bulkhead_kernel::config::Config;
use bulkhead_mail::{Mailer, jobs::SendMail};
use bulkhead_tenancy::{Db, Lineage};
use bulkhead_tenants::jobs::{OnboardTenant, RunMigrations};

use crate::{
    ServeError,
    handlers::{mail, migrations, tenants, vms},
    reconcilers,
};

/// What handlers need besides the database.
#[derive(Clone)]
pub struct Parts {
    /// Carries mail.
    pub mailer: Mailer,
    /// The loop over virtual machines.
    pub machines: Reconciler,
    /// What leads tenants from version to version.
    pub lineage: Lineage,
}

impl Parts {
    /// As the settings say; connects to nothing yet.
    pub fn new(db: Db, config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            mailer: Mailer::new(&config.mail).map_err(ServeError::Mail)?,
            machines: reconcilers::vms::reconciler(db, config).map_err(ServeError::Driver)?,
            lineage: Lineage::product().clone(),
        })
    }
}

/// Every kind of job with its handler, in the order of their names.
pub fn registry(parts: Parts) -> Registry {
    let Parts {
        mailer,
        machines,
        lineage,
    } = parts;
    Registry::new()
        .handle::<SendMail, _, _>(move |run, job| mail::send(run, job, mailer.clone()))
        .handle::<RunMigrations, _, _>(move |run, job| migrations::run(run, job, lineage.clone()))
        .handle::<OnboardTenant, _, _>(tenants::onboard)
        .handle::<ReconcileVm, _, _>(move |run, job| vms::reconcile(run, job, machines.clone()))
}
