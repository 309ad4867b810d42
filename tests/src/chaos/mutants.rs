//! Deliberate bugs: each has to be caught by its scenario, or that scenario proves nothing.

use std::process::ExitCode;

use crate::{
    BROKE_OFF,
    harness::test_env,
    plan::{Mutant, Plan, Scenario},
    report::{progress, say},
    run as run_scenario,
};

const MUTANTS: [(&str, Mutant, Scenario); 3] = [
    ("enqueue after commit", Mutant::EnqueueAfterCommit, Scenario::Writes),
    ("lease check off", Mutant::LeaseCheckOff, Scenario::Stops),
    ("poison rule off", Mutant::PoisonRuleOff, Scenario::Poison),
];

/// Runs each in its scenario's short form. Fails unless all are caught.
pub(crate) async fn run() -> ExitCode {
    let plan = Plan {
        is_short: true,
        ..Plan::from_env()
    };
    progress(&format!("CHAOS_SEED={}", plan.seed));
    let mut n_caught = 0;
    for (name, mutant, scenario) in MUTANTS {
        let mut plan = Plan {
            mutant: Some(mutant),
            ..plan.clone()
        };
        if mutant == Mutant::EnqueueAfterCommit {
            plan.api = test_env("CHAOS_MUTANT_API");
        }
        let report = run_scenario(scenario, &plan).await;
        // A scenario that broke off has proven nothing.
        let caught: Vec<&String> = report.anomalies.iter().filter(|text| *text != BROKE_OFF).collect();
        n_caught += usize::from(!caught.is_empty());
        match caught.first() {
            Some(anomaly) => say(&format!("{name}: caught by {}: {anomaly}", scenario.name())),
            None => say(&format!("{name}: NOT caught by {}", scenario.name())),
        }
    }
    say(&format!(
        "caught {n_caught} of {}, CHAOS_SEED={}",
        MUTANTS.len(),
        plan.seed
    ));
    ExitCode::from(u8::from(n_caught < MUTANTS.len()))
}
