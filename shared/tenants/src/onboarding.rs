//! Building a tenant, step by step, in the worker.
//!
//! Each step is one transaction of the provisioner: it locks its own row, looks whether it is done, acts, marks itself
//! done and checks the job's lease. So a step happens exactly once, whoever runs it and however often that one dies. What
//! is built in another cluster commits there first, and every such step does nothing the second time.

use std::error::Error;

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{members, permissions::SystemRole, roles};
use bulkhead_jobs::Run;
use bulkhead_kernel::ids::TenantId;
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{Db, DbError, OwnerTx};
use serde_json::Value;

use crate::{StepState, TenantError, jobs::OnboardTenant, placement, store};

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

    /// `tx` is at home; what is built is built in `there`, if the tenant is placed elsewhere.
    pub(crate) async fn apply(
        self,
        run: &Run,
        tx: &mut OwnerTx,
        there: Option<&mut OwnerTx>,
        job: OnboardTenant,
    ) -> Result<(), TenantError> {
        match (self, there) {
            (Self::Role, there) => there.unwrap_or(tx).create_tenant_role(job.tenant).await?,
            (Self::Schema, there) => there.unwrap_or(tx).create_tenant_schema(job.tenant).await?,
            (Self::Migrations, there) => there.unwrap_or(tx).migrate_tenant_schema(job.tenant).await?,
            (Self::Defaults, there) => {
                let tx = there.unwrap_or(tx);
                tx.enter_tenant_schema(job.tenant).await?;
                roles::service::seed(tx).await?;
            }
            (Self::Owner, Some(there)) => {
                there.enter_tenant_schema(job.tenant).await?;
                members::service::add_owner_of(tx, there, job.owner).await?;
            }
            (Self::Owner, None) => {
                tx.enter_tenant_schema(job.tenant).await?;
                members::service::add_owner(tx, job.owner).await?;
                let event = Event::now("user.add", Actor::of(&run.origin), &run.origin)
                    .on("user", job.owner)
                    .change("role", Value::Null, SystemRole::Owner.as_str());
                bulkhead_audit::record_as_owner(tx, job.tenant, event).await?;
            }
            (Self::Welcome, _) => welcome(run, tx, job).await?,
            (Self::Activate, _) => store::set_active(tx, job.tenant).await?,
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
        match placement::service::elsewhere(run.db(), &mut tx, job.tenant).await? {
            None => step.apply(run, &mut tx, None, job).await?,
            Some(cluster) => build_there(run, &mut tx, &cluster, step, job).await?,
        }
        store::finish_step(&mut tx, job.tenant, step.name()).await?;
        run.hold_owner(&mut tx).await?;
        tx.commit().await?;
        tracing::info!(tenant.id = %job.tenant, step = step.name(), "onboarding step done");
    }
    Ok(())
}

/// No transaction reaches over two databases: the effect commits first and is harmless when it is had again.
async fn build_there(
    run: &Run,
    tx: &mut OwnerTx,
    cluster: &Db,
    step: Step,
    job: OnboardTenant,
) -> Result<(), TenantError> {
    let mut there = cluster.owner().await?;
    placement::store::insert_resident(&mut there, job.tenant, None).await?;
    step.apply(run, tx, Some(&mut there), job).await?;
    if let Some((shard, _)) = placement::store::find_resident(&mut there, job.tenant).await? {
        placement::store::set_shard(tx, job.tenant, shard).await?;
    }
    if step == Step::Activate {
        placement::service::lead(tx, &mut there, job.tenant).await?;
    }
    Ok(there.commit().await?)
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
