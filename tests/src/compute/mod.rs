//! VMs from the request to the provider, in process: the real services, reconciler and simulator over a real database.

mod crash;
mod create;
mod delete;
mod failure;
mod idempotency;
mod list;
mod transitions;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bulkhead_compute::{
    driver::{Driver, Drivers},
    reconcile::{Reconciler, Settings},
    simulator::{Hook, Injected, Intercepted, Ledger, Options, Simulator},
    templates,
    vms::{NewVm, Phase, VmDetail, service},
};
use bulkhead_iam::{Person, Principal, Scope, permissions::SystemRole};
use bulkhead_kernel::{
    clock::Clock,
    ids::{IdentityId, SessionId, TenantId, VmId},
    origin::Origin,
};
use bulkhead_tenancy::{Db, TenantSelector};

use crate::harness::TestDb;

/// A tenant with templates, and a folder for its machines.
struct Lab {
    test: TestDb,
    db: Db,
    tenant: TenantId,
    scope: Scope,
    folder: PathBuf,
    template: String,
}

impl Lab {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let db = test.db(&[("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "10000")]);
        let tenant = test.tenant(&db, "acme").await;
        let published = templates::service::seed(&db).await.unwrap();
        assert_eq!(published, templates::seeds().len());
        let scope = scope(&db, tenant).await;
        let listed = templates::service::list(&scope, &db).await.unwrap();
        let template = listed.iter().find(|template| template.name == "debian-12").unwrap();
        Self {
            template: template.id.to_string(),
            folder: std::env::temp_dir().join(format!("bulkhead-lab-{tenant}")),
            test,
            db,
            tenant,
            scope,
        }
    }

    fn simulator(&self, options: Options) -> Simulator {
        Simulator::new(&self.folder, Clock::system(), options)
    }

    /// A worker's reconciler with a simulator of its own over the shared folder.
    fn worker(&self, options: Options) -> Reconciler {
        self.worker_with_lease(options, Duration::from_secs(60))
    }

    fn worker_with_lease(&self, options: Options, lease: Duration) -> Reconciler {
        let simulator: Arc<dyn Driver> = Arc::new(self.simulator(options));
        let drivers = Drivers::new([simulator], "simulator").unwrap();
        let settings = Settings {
            worker: format!("worker-{}", SessionId::new()),
            lease,
            poll: Duration::from_millis(20),
            observe_interval: Duration::from_secs(60),
            concurrency: 4,
        };
        Reconciler::new(self.db.clone(), drivers, settings, Clock::system())
    }

    fn new_vm(&self, name: &str) -> NewVm {
        NewVm {
            name: name.into(),
            source_type: "template".into(),
            template_id: Some(self.template.clone()),
            iso_url: None,
            cpu: 2,
            memory_gb: 4,
            disk_gb: 20,
        }
    }

    async fn create(&self, name: &str) -> VmId {
        let accepted = service::create(&self.scope, &self.db, &self.new_vm(name), None).await;
        accepted.unwrap().vm.id
    }

    /// Lets a worker make passes until the VM is in a phase; each pass begins as soon as the last one has ended.
    async fn drive(&self, worker: &Reconciler, vm: VmId, phase: Phase) {
        for _ in 0..50 {
            if self.phase(vm).await == phase {
                return;
            }
            self.make_due(vm).await;
            assert!(worker.run_vm(self.tenant, vm).await.unwrap(), "the VM was not free");
        }
        panic!("{vm} is {} and not {phase}", self.phase(vm).await);
    }

    async fn detail(&self, vm: VmId) -> VmDetail {
        service::get(&self.scope, &self.db, vm).await.unwrap()
    }

    /// The phase, also of a deleted VM.
    async fn phase(&self, vm: VmId) -> Phase {
        let phase = sqlx::query_scalar!("SELECT phase FROM vms WHERE id = $1", vm.uuid())
            .fetch_one(&mut self.test.look_into(self.tenant).await)
            .await
            .unwrap();
        phase.parse().unwrap()
    }

    /// As if the back-off were over.
    async fn make_due(&self, vm: VmId) {
        sqlx::query!(
            "UPDATE control.vm_work SET due_at = now() WHERE vm_id = $1 AND lease_until IS NULL",
            vm.uuid(),
        )
        .execute(&mut self.test.connect("postgres").await)
        .await
        .unwrap();
    }

    /// As if the worker that holds the VM had been silent for the length of its lease.
    async fn expire_lease(&self, vm: VmId) {
        let done = sqlx::query!(
            "UPDATE control.vm_work SET due_at = now(), lease_until = now() WHERE vm_id = $1 AND lease_until IS NOT NULL",
            vm.uuid(),
        )
        .execute(&mut self.test.connect("postgres").await)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1, "nobody held the VM");
    }

    fn ledger(&self) -> Ledger {
        Ledger::read(&self.folder).unwrap()
    }

    /// The codes of the VM's timeline, after checking that it has no gap and tells a legal way.
    async fn timeline(&self, vm: VmId) -> Vec<String> {
        let rows = sqlx::query!(
            "SELECT seq, code, phase FROM vm_events WHERE vm_id = $1 ORDER BY seq",
            vm.uuid()
        )
        .fetch_all(&mut self.test.look_into(self.tenant).await)
        .await
        .unwrap();
        let mut before = Phase::Requested;
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(usize::try_from(row.seq).unwrap(), index + 1, "a gap in the timeline");
            let phase: Phase = row.phase.parse().unwrap();
            assert!(phase == before || before.may_become(phase), "{before} to {phase}");
            before = phase;
        }
        rows.into_iter().map(|row| row.code).collect()
    }

    /// Open segments by meter, and how many there are in all.
    async fn segments(&self, vm: VmId) -> (Vec<String>, usize) {
        let rows = sqlx::query!(
            "SELECT meter, ended_at FROM vm_usage_segments WHERE vm_id = $1 ORDER BY meter",
            vm.uuid()
        )
        .fetch_all(&mut self.test.look_into(self.tenant).await)
        .await
        .unwrap();
        let all = rows.len();
        (
            rows.into_iter()
                .filter(|row| row.ended_at.is_none())
                .map(|row| row.meter)
                .collect(),
            all,
        )
    }

    async fn allocations(&self) -> i64 {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM vm_allocations"#)
            .fetch_one(&mut self.test.look_into(self.tenant).await)
            .await
            .unwrap()
    }

    /// Kind and state of the VM's operations, the oldest first.
    async fn operations(&self, vm: VmId) -> Vec<(String, String)> {
        let rows = sqlx::query!(
            "SELECT kind, state FROM vm_operations WHERE vm_id = $1 ORDER BY id",
            vm.uuid()
        )
        .fetch_all(&mut self.test.look_into(self.tenant).await)
        .await
        .unwrap();
        rows.into_iter().map(|row| (row.kind, row.state)).collect()
    }

    /// Nothing of the VM is left anywhere, and the books are closed.
    async fn assert_gone(&self, vm: VmId) {
        assert_eq!(self.phase(vm).await, Phase::Deleted);
        assert_eq!(self.ledger().existing(), Vec::<&str>::new());
        assert_eq!(self.allocations().await, 0);
        assert_eq!(self.segments(vm).await.0, Vec::<String>::new());
        let live = self.operations(vm).await;
        assert!(
            live.iter().all(|(_, state)| state != "pending" && state != "running"),
            "{live:?}"
        );
        assert_eq!(live.last().unwrap(), &("delete".to_owned(), "succeeded".to_owned()));
        assert_eq!(self.timeline(vm).await.last().unwrap(), "vm.deleted");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An owner of the tenant.
async fn scope(db: &Db, tenant: TenantId) -> Scope {
    let identity = IdentityId::new();
    Scope {
        principal: Principal::Member(Person {
            identity,
            session: SessionId::new(),
            email: "ada@acme.example".into(),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
        }),
        tenant: db.resolve(&TenantSelector::Id(tenant)).await.unwrap(),
        permissions: SystemRole::Owner.permissions(),
        roles: vec!["owner".into()],
        origin: Origin {
            principal: identity.to_string(),
            request_id: "req-1".into(),
            traceparent: None,
            address: None,
            agent: None,
        },
        clock: Clock::system(),
    }
}

/// Calls of a method go wrong in this way.
fn fault(method: &'static str, injected: Injected) -> Options {
    hook(move |call| (call.method == method).then(|| injected.clone()))
}

fn hook(hook: impl Fn(&Intercepted<'_>) -> Option<Injected> + Send + Sync + 'static) -> Options {
    let hook: Hook = Arc::new(hook);
    Options {
        hook: Some(hook),
        ..Options::default()
    }
}
