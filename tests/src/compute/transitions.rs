//! The database refuses every change of phase that the table does not list, even as raw SQL.

use bulkhead_compute::vms::{Phase, Status};
use sqlx::Connection;

use super::Lab;

#[tokio::test]
async fn unlisted_transitions_are_refused_by_the_database() {
    let lab = Lab::new().await;
    let vm = lab.create("web").await;
    let mut database = lab.test.look_into(lab.tenant).await;
    for &from in Phase::ALL {
        for &to in Phase::ALL {
            let mut tx = database.begin().await.unwrap();
            // A replica's session runs no triggers, so the VM can begin anywhere.
            sqlx::query!("SET LOCAL session_replication_role = replica")
                .execute(&mut *tx)
                .await
                .unwrap();
            force(&mut tx, vm, from).await.unwrap();
            sqlx::query!("SET LOCAL session_replication_role = origin")
                .execute(&mut *tx)
                .await
                .unwrap();
            let result = force(&mut tx, vm, to).await;
            let expected = from == to || from.may_become(to);
            assert_eq!(result.is_ok(), expected, "{from} to {to}: {result:?}");
            if let Err(sqlx::Error::Database(error)) = result {
                assert_eq!(error.constraint(), Some("vms_transition_check"));
            }
            tx.rollback().await.unwrap();
        }
    }
}

async fn force(
    database: &mut sqlx::PgConnection,
    vm: bulkhead_kernel::ids::VmId,
    phase: Phase,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE vms SET phase = $2, last_stable = $3, fault = $4, \
         deleted_at = CASE WHEN $2 = 'DELETED' THEN now() END WHERE id = $1",
        vm.uuid(),
        phase.as_str(),
        Status::of(phase, Status::Provisioning).as_str(),
        (phase == Phase::Error).then_some("crashed"),
    )
    .execute(database)
    .await?;
    assert_eq!(done.rows_affected(), 1);
    Ok(())
}

#[tokio::test]
async fn a_vm_cannot_be_born_running() {
    let lab = Lab::new().await;
    lab.create("web").await;
    let born = sqlx::query!(
        "INSERT INTO vms (id, name, source_type, template_id, template_name, template_version, cpu, memory_gb, disk_gb, \
         phase, last_stable, created_by, created_at, updated_at) \
         SELECT gen_random_uuid(), 'other', source_type, template_id, template_name, template_version, cpu, memory_gb, \
         disk_gb, 'RUNNING', 'RUNNING', created_by, created_at, updated_at FROM vms",
    )
    .execute(&mut lab.test.look_into(lab.tenant).await)
    .await;
    let Err(sqlx::Error::Database(error)) = born else {
        panic!("{born:?}")
    };
    assert_eq!(error.constraint(), Some("vms_transition_check"));
}
