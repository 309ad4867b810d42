//! What came out, for people and for the exit code.

use std::{
    io::{Write as _, stderr, stdout},
    time::Duration,
};

use crate::plan::{Plan, Scenario};

/// One scenario's result.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) scenario: Option<Scenario>,
    pub(crate) rounds: usize,
    /// Faults that were done.
    pub(crate) faults: String,
    /// What was looked at, with its numbers.
    pub(crate) checked: Vec<String>,
    /// Broken promises; none in a run that went well.
    pub(crate) anomalies: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn new(rounds: usize, faults: impl Into<String>) -> Self {
        Self {
            rounds,
            faults: faults.into(),
            ..Self::default()
        }
    }

    pub(crate) fn checked(&mut self, text: impl Into<String>) {
        self.checked.push(text.into());
    }

    pub(crate) fn anomaly(&mut self, text: impl Into<String>) {
        self.anomalies.push(text.into());
    }

    /// A number that has to be zero.
    pub(crate) fn none(&mut self, n: i64, of: &str) {
        if n != 0 {
            self.anomaly(format!("{n} {of}"));
        }
    }

    /// A measured time and its bound.
    pub(crate) fn within(&mut self, what: &str, measured: Duration, bound: Duration) {
        let (measured, bound) = (measured.as_secs_f64(), bound.as_secs_f64());
        self.checked(format!("{what} {measured:.1} s (bound {bound:.0} s)"));
        if measured > bound {
            self.anomaly(format!("{what} {measured:.1} s, more than {bound:.0} s"));
        }
    }
}

/// Says on standard error what is going on; standard output is for the table.
pub(crate) fn progress(text: &str) {
    // A progress line that nobody can read is not missed.
    let _ = writeln!(stderr(), "    {text}");
}

/// Writes the summary.
pub(crate) fn print(plan: &Plan, reports: &[Report]) {
    let mut text =
        String::from("| scenario | rounds | faults | checked | anomalies | s |\n|---|---|---|---|---|---|\n");
    for report in reports {
        let name = report.scenario.map_or("?", Scenario::name);
        let cells = [
            name.to_owned(),
            report.rounds.to_string(),
            report.faults.clone(),
            report.checked.join("; "),
            report.anomalies.len().to_string(),
            report.took.as_secs().to_string(),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    let n_anomalies: usize = reports.iter().map(|report| report.anomalies.len()).sum();
    let mode = if plan.is_short { "short" } else { "full" };
    text += &format!("\n{mode} run, CHAOS_SEED={}: {n_anomalies} anomalies", plan.seed);
    say(&text);
}

/// Writes a line of the result.
pub(crate) fn say(text: &str) {
    stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}
