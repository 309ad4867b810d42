//! Who may know whom, read from the manifests.

use std::collections::BTreeSet;

use super::read;

/// Each crate and the crates of ours it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("shared/kernel", &[]),
    ("shared/tenancy", &["kernel"]),
    ("shared/audit", &["kernel", "tenancy"]),
    ("shared/jobs", &["kernel", "tenancy", "audit"]),
    ("shared/traffic", &["kernel"]),
    ("shared/mail", &["kernel", "tenancy", "jobs"]),
    ("shared/outbound", &["kernel"]),
    ("shared/events", &["kernel", "tenancy", "jobs"]),
    ("shared/iam", &["kernel", "tenancy", "audit", "jobs", "mail", "events"]),
    (
        "shared/webhooks",
        &["kernel", "tenancy", "audit", "jobs", "events", "outbound", "iam"],
    ),
    (
        "shared/tenants",
        &["kernel", "tenancy", "audit", "jobs", "mail", "iam", "webhooks"],
    ),
    ("shared/resources", &["kernel", "tenancy", "audit", "iam"]),
    (
        "shared/tasks",
        &[
            "kernel",
            "tenancy",
            "audit",
            "jobs",
            "events",
            "iam",
            "tenants",
            "resources",
        ],
    ),
    (
        "shared/compute",
        &["kernel", "tenancy", "audit", "jobs", "events", "iam"],
    ),
    (
        "api",
        &[
            "kernel",
            "tenancy",
            "audit",
            "jobs",
            "mail",
            "iam",
            "tenants",
            "resources",
            "tasks",
            "compute",
            "traffic",
            "events",
            "webhooks",
        ],
    ),
    (
        "worker",
        &[
            "kernel", "tenancy", "audit", "jobs", "mail", "iam", "tenants", "tasks", "compute", "webhooks",
        ],
    ),
];

fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
    let own = dependencies.split("\n[").next().unwrap_or_default();
    own.lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .collect()
}

#[test]
fn arrows_point_one_way() {
    for (name, allowed) in ARROWS {
        let manifest = read(&format!("{name}/Cargo.toml"));
        for dependency in dependencies(&manifest) {
            if let Some(ours) = dependency.strip_prefix("bulkhead-") {
                assert!(allowed.contains(&ours), "{name} must not know {ours}");
            }
        }
    }
}

#[test]
fn http_stays_in_api_and_sql_stays_out_of_it() {
    for (name, _) in ARROWS {
        let manifest = read(&format!("{name}/Cargo.toml"));
        let dependencies = dependencies(&manifest);
        let foreign: &[&str] = match *name {
            "api" => &["sqlx", "redis", "apalis", "apalis-core"],
            "worker" => &["sqlx", "redis"],
            _ => &["axum", "http", "tower-http", "utoipa"],
        };
        for dependency in foreign {
            assert!(!dependencies.contains(dependency), "{name} must not know {dependency}");
        }
    }
}
