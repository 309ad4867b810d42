//! The one list: which job is run by what.

use bulkhead_compute::{reconcile::Reconciler, vms::ReconcileVm};
use bulkhead_jobs::Registry;
use bulkhead_kernel::config::Config;
use bulkhead_mail::{Mailer, jobs::SendMail};
use bulkhead_tenancy::Db;
use bulkhead_tenants::jobs::OnboardTenant;

use crate::{
    ServeError,
    handlers::{mail, tenants, vms},
    reconcilers,
};

/// What handlers need besides the database.
#[derive(Clone)]
pub struct Parts {
    /// Carries mail.
    pub mailer: Mailer,
    /// The loop over virtual machines.
    pub machines: Reconciler,
}

impl Parts {
    /// As the settings say; connects to nothing yet.
    pub fn new(db: Db, config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            mailer: Mailer::new(&config.mail).map_err(ServeError::Mail)?,
            machines: reconcilers::vms::reconciler(db, config).map_err(ServeError::Driver)?,
        })
    }
}

/// Every kind of job with its handler, in the order of their names.
pub fn registry(parts: Parts) -> Registry {
    let Parts { mailer, machines } = parts;
    Registry::new()
        .handle::<SendMail, _, _>(move |run, job| mail::send(run, job, mailer.clone()))
        .handle::<OnboardTenant, _, _>(tenants::onboard)
        .handle::<ReconcileVm, _, _>(move |run, job| vms::reconcile(run, job, machines.clone()))
}
