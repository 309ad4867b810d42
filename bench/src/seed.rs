//! Machines for the lists. They are written into the tenants' tables directly: 10,000 machines through API and worker
//! would take longer than everything else, and a worker that observes them would disturb what is measured.

use crate::{postgres::Session, tenants::Persona};

/// How many machines each tenant has.
pub(crate) const VMS: usize = 50;

/// Gives each tenant its machines and the planner its statistics.
pub(crate) async fn machines(session: &mut Session, personas: &[Persona]) -> anyhow::Result<()> {
    for persona in personas {
        session.query(&insert(&schema_of(persona))).await?;
    }
    // Otherwise autovacuum comes when it likes, in the middle of a cell.
    for share in personas.chunks(50) {
        let tables: Vec<String> = share.iter().flat_map(tables_of).collect();
        session
            .query(&format!("VACUUM (ANALYZE) {}", tables.join(", ")))
            .await?;
    }
    session
        .query("VACUUM (ANALYZE) control.tenants, control.sessions, control.identities, control.jobs")
        .await?;
    session.query("CHECKPOINT").await?;
    Ok(())
}

fn schema_of(persona: &Persona) -> String {
    format!("t_{}", persona.tenant.replace('-', ""))
}

fn tables_of(persona: &Persona) -> Vec<String> {
    let tables = ["members", "member_roles", "roles", "role_permissions", "vms"];
    tables
        .iter()
        .map(|table| format!("{}.{table}", schema_of(persona)))
        .collect()
}

/// Running machines as the product leaves them. The trigger wants every machine to begin as requested, so it looks away.
fn insert(schema: &str) -> String {
    format!(
        "BEGIN; \
         SET LOCAL session_replication_role = replica; \
         INSERT INTO {schema}.vms (id, name, source_type, template_id, template_name, template_version, cpu, memory_gb, \
                disk_gb, desired, desired_gen, applied_gen, phase, last_stable, observed, provider, plan, provider_ref, \
                ip_address, created_by, created_at, updated_at) \
         SELECT gen_random_uuid(), 'web-' || n, 'template', '00000000-0000-7000-8000-000000000001', 'debian-12', 1, 2, 4, \
                40, 'running', 1, 1, 'RUNNING', 'RUNNING', '{{\"existence\": \"present\", \"power\": \"on\"}}', \
                'simulator', '{{\"image\": \"debian-12\", \"zone\": \"a\"}}', 'sim-' || n, '10.0.0.' || n, 'bench', \
                now() - n * interval '1 minute', now() \
         FROM generate_series(1, {VMS}) AS n; \
         COMMIT"
    )
}
