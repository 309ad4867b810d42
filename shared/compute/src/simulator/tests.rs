use std::{fs::OpenOptions, io::Write, path::Path};

use bulkhead_kernel::ids::VmId;
use chrono::TimeDelta;

use super::*;

/// A folder of a test's own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("simulator-{}", VmId::new())))
    }

    fn open(&self, clock: &Clock, options: Options) -> Simulator {
        Simulator::new(&self.0, clock.clone(), options)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

fn fence(epoch: i64) -> Fence {
    Fence {
        vm: VmId::new(),
        incarnation: 1,
        epoch,
    }
}

fn boot(millis: u64) -> Options {
    Options {
        boot: Duration::from_millis(millis),
        ..Options::default()
    }
}

async fn plan(simulator: &Simulator, fence: &Fence) -> Plan {
    let spec = Spec {
        vm: fence.vm,
        name: "web".into(),
        artefact: "debian-12".into(),
        cpu: 1,
        memory_gb: 1,
        disk_gb: 10,
    };
    simulator.plan(&spec).await.unwrap()
}

async fn create(simulator: &Simulator, fence: &Fence) -> Result<Progress<Resource>, DriverError> {
    let plan = plan(simulator, fence).await;
    simulator.ensure_network(fence, &plan).await?;
    simulator.ensure_disk(fence, &plan).await?;
    simulator.ensure_instance(fence, &plan, None).await
}

fn file(folder: &Folder, fence: &Fence) -> PathBuf {
    folder.0.join(format!("{}.jsonl", fence.identity()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_creations_make_one_machine() {
    let (folder, fence) = (Folder::new(), fence(1));
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        // A handle of its own has a file of its own, as another process has.
        let simulator = folder.open(&Clock::system(), Options::default());
        racers.spawn(async move { create(&simulator, &fence).await });
    }
    let expected = Progress::Done(resource(fence.identity().as_str()));
    while let Some(result) = racers.join_next().await {
        assert_eq!(result.unwrap(), Ok(expected.clone()));
    }
    let ledger = folder.open(&Clock::system(), Options::default()).ledger().unwrap();
    assert_eq!(ledger.creations(fence.identity().as_str()), 1);
    let disks = ledger
        .machines
        .values()
        .flatten()
        .filter(|entry| matches!(entry.effect, Effect::DiskCreated { .. }));
    assert_eq!(disks.count(), 1);
}

#[tokio::test]
async fn an_old_epoch_is_refused_and_changes_nothing() {
    let (folder, clock, new) = (Folder::new(), clock(), fence(7));
    let simulator = folder.open(&clock, Options::default());
    create(&simulator, &new).await.unwrap();
    let old = Fence { epoch: 6, ..new };
    let before = simulator.ledger().unwrap();
    let plan = plan(&simulator, &old).await;
    let reference = old.identity().to_string();
    let answers = [
        simulator.ensure_image(&old, &plan).await.map(drop),
        simulator.ensure_network(&old, &plan).await.map(drop),
        simulator.ensure_disk(&old, &plan).await.map(drop),
        simulator.ensure_instance(&old, &plan, None).await.map(drop),
        simulator
            .ensure_power(&old, &reference, &PowerTarget::On)
            .await
            .map(drop),
        simulator.ensure_deleted(&old, None).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap_err().class, Class::Fenced);
    }
    assert_eq!(simulator.ledger().unwrap(), before);
}

#[tokio::test]
async fn a_lax_provider_lets_late_calls_land() {
    let (folder, clock, new) = (Folder::new(), clock(), fence(7));
    let options = Options {
        is_lax: true,
        ..Options::default()
    };
    let simulator = folder.open(&clock, options);
    assert!(!simulator.capabilities().fencing_token);
    create(&simulator, &new).await.unwrap();
    simulator
        .ensure_deleted(&Fence { epoch: 6, ..new }, None)
        .await
        .unwrap();
    assert_eq!(simulator.ledger().unwrap().existing(), [""; 0]);
}

#[tokio::test]
async fn a_deleted_machine_is_not_made_again_by_a_late_call() {
    let (folder, clock, old) = (Folder::new(), clock(), fence(1));
    let simulator = folder.open(&clock, Options::default());
    create(&simulator, &old).await.unwrap();
    let heir = Fence { epoch: 2, ..old };
    assert_eq!(simulator.ensure_deleted(&heir, None).await, Ok(Progress::Done(())));
    assert_eq!(create(&simulator, &old).await.unwrap_err().class, Class::Fenced);
    assert_eq!(simulator.find(&old.identity()).await, Ok(Found::None));
    assert_eq!(simulator.ledger().unwrap().existing(), [""; 0]);
}

#[tokio::test]
async fn a_deletion_of_nothing_is_done_and_still_fences() {
    let (folder, clock, heir) = (Folder::new(), clock(), fence(2));
    let simulator = folder.open(&clock, Options::default());
    assert_eq!(simulator.ensure_deleted(&heir, None).await, Ok(Progress::Done(())));
    let late = Fence { epoch: 1, ..heir };
    assert_eq!(create(&simulator, &late).await.unwrap_err().class, Class::Fenced);
}

#[tokio::test]
async fn booting_takes_its_time_and_survives_a_new_process() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let first = folder.open(&clock, boot(800));
    create(&first, &fence).await.unwrap();
    let reference = fence.identity().to_string();
    let Progress::Pending { task, poll_after } =
        first.ensure_power(&fence, &reference, &PowerTarget::On).await.unwrap()
    else {
        panic!("it booted at once");
    };
    assert_eq!(poll_after, Duration::from_millis(800));
    drop(first);

    let second = folder.open(&clock, boot(800));
    clock.advance(TimeDelta::milliseconds(799));
    let seen = second.observe(&reference).await.unwrap();
    assert_eq!(
        (seen.existence, seen.power, seen.addresses.len()),
        (Existence::Present, Power::Changing, 0)
    );
    assert!(matches!(second.poll(&task).await, Ok(TaskState::Running { .. })));
    clock.advance(TimeDelta::milliseconds(1));
    assert!(matches!(second.poll(&task).await, Ok(TaskState::Succeeded(None))));
    let seen = second.observe(&reference).await.unwrap();
    assert!(seen.is_running());
    assert!(seen.addresses[0].starts_with("10."));
    assert_eq!(
        second.ensure_power(&fence, &reference, &PowerTarget::On).await,
        Ok(Progress::Done(()))
    );
    let ledger = second.ledger().unwrap();
    let switched = ledger
        .machines
        .values()
        .flatten()
        .filter(|entry| matches!(entry.effect, Effect::PowerOn { .. }));
    assert_eq!(switched.count(), 1);
}

#[tokio::test]
async fn a_machine_being_made_cannot_be_switched_on_yet() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let options = Options {
        creation: Duration::from_secs(5),
        ..Options::default()
    };
    let simulator = folder.open(&clock, options);
    let Progress::Pending { task, .. } = create(&simulator, &fence).await.unwrap() else {
        panic!()
    };
    let reference = fence.identity().to_string();
    let early = simulator
        .ensure_power(&fence, &reference, &PowerTarget::On)
        .await
        .unwrap_err();
    assert_eq!(
        (early.class, early.retry_after),
        (Class::Busy, Some(Duration::from_secs(5)))
    );
    clock.advance(TimeDelta::seconds(5));
    assert!(matches!(simulator.poll(&task).await, Ok(TaskState::Succeeded(Some(made))) if made == reference));
    assert!(matches!(
        simulator.poll("boot:vm-unknown-1").await,
        Ok(TaskState::Unknown)
    ));
}

#[tokio::test]
async fn half_a_line_of_a_killed_process_never_happened() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let simulator = folder.open(&clock, Options::default());
    let plan = plan(&simulator, &fence).await;
    simulator.ensure_network(&fence, &plan).await.unwrap();
    let mut file = OpenOptions::new().append(true).open(file(&folder, &fence)).unwrap();
    file.write_all(br#"{"at":"2027-01-15T08:00:00Z","epoch":1,"effect":"instance_cr"#)
        .unwrap();
    assert_eq!(simulator.find(&fence.identity()).await, Ok(Found::None));
    create(&simulator, &fence).await.unwrap();
    assert_eq!(simulator.ledger().unwrap().creations(fence.identity().as_str()), 1);
}

#[tokio::test]
async fn the_same_identity_with_another_plan_is_a_collision() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let simulator = folder.open(&clock, Options::default());
    create(&simulator, &fence).await.unwrap();
    let mut other = plan(&simulator, &fence).await;
    other.cpu = 2;
    let error = simulator.ensure_instance(&fence, &other, None).await.unwrap_err();
    assert_eq!((error.class, error.code), (Class::IdentityExists, "identity_collision"));
}

#[tokio::test]
async fn a_token_cycles_the_power_once() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let simulator = folder.open(&clock, Options::default());
    create(&simulator, &fence).await.unwrap();
    let reference = fence.identity().to_string();
    for token in ["op-1", "op-1", "op-2"] {
        let cycle = PowerTarget::Cycle { token: token.into() };
        assert_eq!(
            simulator.ensure_power(&fence, &reference, &cycle).await,
            Ok(Progress::Done(()))
        );
    }
    let ledger = simulator.ledger().unwrap();
    let cycles = ledger
        .machines
        .values()
        .flatten()
        .filter(|entry| matches!(entry.effect, Effect::PowerCycled { .. }));
    assert_eq!(cycles.count(), 2);
}

#[tokio::test]
async fn what_the_guest_does_is_seen_with_its_cause() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let simulator = folder.open(&clock, Options::default());
    create(&simulator, &fence).await.unwrap();
    let reference = fence.identity().to_string();
    simulator
        .ensure_power(&fence, &reference, &PowerTarget::On)
        .await
        .unwrap();
    let off = Effect::PowerOff {
        by_guest: true,
        is_forced: false,
    };
    simulator.intervene(&fence.identity(), off).unwrap();
    let seen = simulator
        .observe_many(&[reference, "vm-unknown-1".into()])
        .await
        .unwrap();
    assert_eq!((seen[0].power, seen[0].cause), (Power::Off, Cause::Guest));
    assert_eq!(seen[1].existence, Existence::Absent);
}

#[tokio::test]
async fn a_hook_can_fail_a_call_or_lose_its_reply() {
    let (folder, clock, fence) = (Folder::new(), clock(), fence(1));
    let hook: Hook = Arc::new(|call| match call.method {
        "ensure_disk" => Some(Injected::LoseReply),
        "ensure_instance" => Some(Injected::Fail(DriverError::new(Class::Capacity, "full"))),
        _ => None,
    });
    let simulator = folder.open(
        &clock,
        Options {
            hook: Some(hook),
            ..Options::default()
        },
    );
    let plan = plan(&simulator, &fence).await;
    simulator.ensure_network(&fence, &plan).await.unwrap();
    let lost = simulator.ensure_disk(&fence, &plan).await.unwrap_err();
    assert!(lost.is_ambiguous);
    let full = simulator.ensure_instance(&fence, &plan, None).await.unwrap_err();
    assert_eq!(full.class, Class::Capacity);
    let honest = folder.open(&clock, Options::default());
    let kinds: Vec<_> = honest
        .list_owned("", None)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|owned| owned.kind)
        .collect();
    assert_eq!(kinds, ["disk", "nic"]);
}

#[tokio::test]
async fn a_reference_cannot_leave_the_folder() {
    let folder = Folder::new();
    let simulator = folder.open(&clock(), Options::default());
    for reference in ["", "../vm-1", "vm-/../x", "vm-\u{0}", &format!("vm-{}", "x".repeat(64))] {
        assert!(simulator.observe(reference).await.is_err(), "{reference:?}");
    }
    assert!(!Path::new(&folder.0).exists());
}
