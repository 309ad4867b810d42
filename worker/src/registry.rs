//! The one list: which job is run by what.

use bulkhead_compute::{reconcile::Reconciler, vms::ReconcileVm};
use bulkhead_iam::{invitations::jobs::SendInvitation, members::jobs::CopyNames};
use bulkhead_jobs::Registry;
use bulkhead_kernel::config::Config;
use bulkhead_mail::{Mailer, jobs::SendMail};
use bulkhead_tasks::{ExportOwnTenant, ImportResources, ReportUsage};
use bulkhead_tenancy::{Db, Lineage};
use bulkhead_tenants::{
    archives::{
        Archives,
        jobs::{ExportTenant, ImportTenant},
    },
    jobs::{MoveTenant, OnboardTenant, RunMigrations},
};

use crate::{
    ServeError,
    handlers::{archives as archive_jobs, invitations, mail, members, migrations, tasks, tenants, vms},
    reconcilers,
};

/// What handlers need besides the database.
#[derive(Clone)]
pub struct Parts {
    /// Carries mail.
    pub mailer: Mailer,
    /// Where archives of tenants lie.
    pub archives: Archives,
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
            archives: Archives::new(&config.archives),
            machines: reconcilers::vms::reconciler(db, config).map_err(ServeError::Driver)?,
            lineage: Lineage::product().clone(),
        })
    }
}

/// Every kind of job with its handler, in the order of their names.
pub fn registry(parts: Parts) -> Registry {
    let Parts {
        mailer,
        archives,
        machines,
        lineage,
    } = parts;
    let (exports, own_exports) = (archives.clone(), archives.clone());
    let inviting = mailer.clone();
    Registry::new()
        .handle::<SendInvitation, _, _>(move |run, job| invitations::send(run, job, inviting.clone()))
        .handle::<SendMail, _, _>(move |run, job| mail::send(run, job, mailer.clone()))
        .handle::<CopyNames, _, _>(members::copy_names)
        .handle::<RunMigrations, _, _>(move |run, job| migrations::run(run, job, lineage.clone()))
        .handle::<ImportResources, _, _>(tasks::import)
        .handle::<ExportOwnTenant, _, _>(move |run, job| tasks::export(run, job, own_exports.clone()))
        .handle::<ExportTenant, _, _>(move |run, job| archive_jobs::write(run, job, exports.clone()))
        .handle::<ImportTenant, _, _>(move |run, job| archive_jobs::load(run, job, archives.clone()))
        .handle::<MoveTenant, _, _>(tenants::carry_out_move)
        .handle::<OnboardTenant, _, _>(tenants::onboard)
        .handle::<ReportUsage, _, _>(tasks::report)
        .handle::<ReconcileVm, _, _>(move |run, job| vms::reconcile(run, job, machines.clone()))
}
