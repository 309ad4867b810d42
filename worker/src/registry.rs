//! The one list: which job is run by what.

use bulkhead_compute::{reconcile::Reconciler, vms::ReconcileVm};
use bulkhead_iam::{
    idempotency::jobs::PruneIdempotencyKeys, invitations::jobs::SendInvitation, members::jobs::CopyNames,
    sessions::jobs::PruneSessions,
};
use bulkhead_jobs::{Registry, retention::PruneJobs};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, JobRetention},
};
use bulkhead_mail::{Mailer, jobs::SendMail};
use bulkhead_tasks::{AnnounceJob, ExportOwnTenant, ImportResources, ReportUsage};
use bulkhead_tenancy::{Db, Lineage};
use bulkhead_tenants::{
    archives::{
        Archives,
        jobs::{ExportTenant, ImportTenant},
    },
    jobs::{MoveTenant, OnboardTenant, RunMigrations},
};
use bulkhead_webhooks::{
    Courier,
    jobs::{DeliverWebhook, ReplayWebhook},
};

use crate::{
    ServeError,
    handlers::{
        archives as archive_jobs, idempotency, invitations, jobs, mail, members, migrations, sessions, tasks, tenants,
        vms, webhooks,
    },
    reconcilers,
};

/// What handlers need besides the database.
#[derive(Clone)]
pub struct Parts {
    /// Carries mail.
    pub mailer: Mailer,
    /// Where archives of tenants lie.
    pub archives: Archives,
    /// Calls webhooks.
    pub courier: Courier,
    /// The loop over virtual machines.
    pub machines: Reconciler,
    /// What leads tenants from version to version.
    pub lineage: Lineage,
    /// How long finished jobs are kept.
    pub kept: JobRetention,
}

impl Parts {
    /// As the settings say; connects to nothing yet.
    pub fn new(db: Db, config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            mailer: Mailer::new(&config.mail).map_err(ServeError::Mail)?,
            archives: Archives::new(&config.archives),
            courier: Courier::new(config, Clock::system()),
            machines: reconcilers::vms::reconciler(db, config).map_err(ServeError::Driver)?,
            lineage: Lineage::product().clone(),
            kept: config.job_retention,
        })
    }
}

/// Every kind of job with its handler, in the order of their names.
pub fn registry(parts: Parts) -> Registry {
    let Parts {
        mailer,
        archives,
        courier,
        machines,
        lineage,
        kept,
    } = parts;
    let (exports, own_exports) = (archives.clone(), archives.clone());
    let inviting = mailer.clone();
    Registry::new()
        .handle::<PruneIdempotencyKeys, _, _>(idempotency::prune)
        .handle::<SendInvitation, _, _>(move |run, job| invitations::send(run, job, inviting.clone()))
        .handle::<AnnounceJob, _, _>(tasks::announce)
        .handle::<PruneJobs, _, _>(move |run, job| jobs::prune(run, job, kept))
        .handle::<SendMail, _, _>(move |run, job| mail::send(run, job, mailer.clone()))
        .handle::<CopyNames, _, _>(members::copy_names)
        .handle::<RunMigrations, _, _>(move |run, job| migrations::run(run, job, lineage.clone()))
        .handle::<PruneSessions, _, _>(sessions::prune)
        .handle::<ImportResources, _, _>(tasks::import)
        .handle::<ExportOwnTenant, _, _>(move |run, job| tasks::export(run, job, own_exports.clone()))
        .handle::<ExportTenant, _, _>(move |run, job| archive_jobs::write(run, job, exports.clone()))
        .handle::<ImportTenant, _, _>(move |run, job| archive_jobs::load(run, job, archives.clone()))
        .handle::<MoveTenant, _, _>(tenants::carry_out_move)
        .handle::<OnboardTenant, _, _>(tenants::onboard)
        .handle::<ReportUsage, _, _>(tasks::report)
        .handle::<ReconcileVm, _, _>(move |run, job| vms::reconcile(run, job, machines.clone()))
        .handle::<DeliverWebhook, _, _>(move |run, job| webhooks::deliver(run, job, courier.clone()))
        .handle::<ReplayWebhook, _, _>(webhooks::replay)
}
