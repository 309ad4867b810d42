//! Building a tenant, step by step, in the worker.
//!
//! Each step is one transaction of the provisioner: it locks its own row, looks whether it is done, acts, marks itself
//! done and checks the job's lease. So a step happens exactly once, whoever runs it and however often that one dies.

use std::error::Error;

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{members, permissions::SystemRole, roles};
use bulkhead_jobs::Run;
use bulkhead_kernel::ids::TenantId;
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{DbError, OwnerTx};
use serde_json::Value;

use crate::{StepState, TenantError, jobs::OnboardTenant, store};

/// The steps in their order. Names are kept in the database: a step may be added, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The tenant's own role in the database.
    Role,
    /// The empty schema.
    Schema,
    /// All tables, at the newest version.
    Migrations,
    /// The system roles and their permissions.
    Defaults,
    /// The founder as a member with the role owner.
    Owner,
    /// A mail to the founder.
    Welcome,
    /// From here on the tenant can be entered.
    Activate,
}

const STEPS: [Step; 7] = [
    Step::Role,
    Step::Schema,
    Step::Migrations,
    Step::Defaults,
    Step::Owner,
    Step::Welcome,
    Step::Activate,
];

impl Step {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Schema => "schema",
            Self::Migrations => "migrations",
            Self::Defaults => "defaults",
            Self::Owner => "owner",
            Self::Welcome => "welcome",
            Self::Activate => "activate",
        }
    }

    pub(crate) async fn apply(self, run: &Run, tx: &mut OwnerTx, job: OnboardTenant) -> Result<(), TenantError> {
        match self {
            Self::Role => tx.create_tenant_role(job.tenant).await?,
            Self::Schema => tx.create_tenant_schema(job.tenant).await?,
            Self::Migrations => tx.migrate_tenant_schema(job.tenant).await?,
            Self::Defaults => {
                tx.enter_tenant_schema(job.tenant).await?;
                roles::service::seed(tx).await?;
            }
            Self::Owner => {
                tx.enter_tenant_schema(job.tenant).await?;
                members::service::add_owner(tx, job.owner).await?;
                let event = Event::now("user.add", Actor::of(&run.origin), &run.origin)
                    .on("user", job.owner)
                    .change("role", Value::Null, SystemRole::Owner.as_str());
                bulkhead_audit::record_as_owner(tx, job.tenant, event).await?;
            }
            Self::Welcome => welcome(run, tx, job).await?,
            Self::Activate => store::set_active(tx, job.tenant).await?,
        }
        Ok(())
    }
}

async fn welcome(run: &Run, tx: &mut OwnerTx, job: OnboardTenant) -> Result<(), TenantError> {
    let (slug, name) = store::get_slug_and_name(tx, job.tenant).await?;
    let mail = SendMail {
        to: job.owner,
        template: Template::Welcome { tenant: name, slug },
    };
    bulkhead_jobs::enqueue_as_owner(&run.origin, tx, bulkhead_jobs::Owner::Tenant(job.tenant), &mail).await?;
    Ok(())
}

/// The names of all steps, in order.
pub(crate) fn step_names() -> Vec<String> {
    STEPS.iter().map(|step| step.name().to_owned()).collect()
}

/// Builds the tenant from wherever the last worker left it.
pub async fn run(run: &Run, job: OnboardTenant) -> Result<(), TenantError> {
    for step in STEPS {
        if let Err(error) = run_step(run, step, job).await {
            record_failure(run, step.name(), job.tenant, &error).await;
            return Err(error);
        }
    }
    Ok(())
}

async fn run_step(run: &Run, step: Step, job: OnboardTenant) -> Result<(), TenantError> {
    let mut tx = run.db().owner().await?;
    if store::lock_step(&mut tx, job.tenant, step.name()).await? != StepState::Done {
        step.apply(run, &mut tx, job).await?;
        store::finish_step(&mut tx, job.tenant, step.name()).await?;
        run.hold_owner(&mut tx).await?;
        tx.commit().await?;
        tracing::info!(tenant.id = %job.tenant, step = step.name(), "onboarding step done");
    }
    Ok(())
}

/// For the people who watch; the job's own record decides what happens next, so a failure here changes nothing.
pub(crate) async fn record_failure(run: &Run, step: &str, tenant: TenantId, error: &(dyn Error + Sync)) {
    let recorded = async {
        let mut tx = run.db().control().await?;
        store::set_step_failed(&mut tx, tenant, step, &error.to_string()).await?;
        tx.commit().await
    };
    let recorded: Result<(), DbError> = recorded.await;
    if let Err(unrecorded) = recorded {
        tracing::debug!(
            error = &unrecorded as &dyn std::error::Error,
            "a failed step was not recorded"
        );
    }
}
