//! The table and what it says about the bars.

use std::{
    io::{Write as _, stderr, stdout},
    time::Duration,
};

use crate::{
    cells::{Cell, Part, Subject},
    load::CONNECTIONS,
    run::Plan,
    sample::{Sample, Spread, percentile_ms},
    script::Recording,
    seed::VMS,
};

/// How many times the naive floor whoami and the list have to reach, and the milliseconds for a new tenant.
const WHOAMI_BAR: f64 = 1.2;
const LIST_BAR: f64 = 1.1;
const CREATION_BAR_MS: f64 = 300.0;

const COLUMNS: &str = "\
| | req/s | min-max | p50 ms | p99 ms | CPU ms: server | + PostgreSQL | x naive | x one message | x hello | errors |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// Everything a run found out.
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) plan: Plan,
    pub(crate) tenants: usize,
    /// Sorted.
    pub(crate) creation_us: Vec<u32>,
    pub(crate) recordings: Vec<(Subject, Recording)>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) took: Duration,
    pub(crate) is_asserted: bool,
}

/// Says on standard error what is going on; standard output is for the table.
pub(crate) fn progress(text: &str) {
    // A progress line that nobody can read is not missed.
    let _ = writeln!(stderr(), "    {text}");
}

/// Writes what a run found out.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}")?;
    Ok(())
}

impl Report {
    /// Failed requests of all cells.
    pub(crate) fn errors(&self) -> u64 {
        self.cells
            .iter()
            .flat_map(|cell| &cell.samples)
            .map(|sample| sample.errors)
            .sum()
    }

    /// Prints Markdown.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let Plan {
            rounds,
            window,
            warm_up,
            ..
        } = self.plan;
        let head = format!(
            "Machine: {}\n\n{} tenants with one member and {VMS} machines each; {CONNECTIONS} keep-alive connections; \
             {rounds} interleaved rounds of {} s per cell, warmed up for {} s; {} s in all.\n\n{COLUMNS}",
            self.machine,
            self.tenants,
            window.as_secs(),
            warm_up.as_secs(),
            self.took.as_secs(),
        );
        let rows: String = self.cells.iter().map(|cell| self.row(cell)).collect();
        let statements = self.recordings.iter().map(|(subject, recording)| {
            let statements = recording.statements().join(";\n");
            format!(
                "\nWhat {} says to PostgreSQL:\n\n```sql\n{statements};\n```\n",
                subject.path()
            )
        });
        let statements: String = statements.collect();
        let text = format!("{head}{rows}\n{}\n{statements}", self.verdicts().join("\n"));
        print(&text)
    }

    fn row(&self, cell: &Cell) -> String {
        let of = |number: fn(&Sample) -> f64| Spread::of(&cell.samples, number);
        let rate = of(|sample| sample.rate);
        let ratio = |part| {
            self.ratio(cell, part)
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let is_product = cell.part == Part::Product;
        format!(
            "| {} | {:.0} | {:.0}-{:.0} | {:.2} | {:.2} | {} | {:.3} | {} | {} | {} | {} |\n",
            name(cell),
            rate.median,
            rate.min,
            rate.max,
            of(|sample| sample.p50_ms).median,
            of(|sample| sample.p99_ms).median,
            cell.connections.map_or_else(
                || format!("{:.3}", of(|sample| sample.server_ms).median),
                |_| "-".to_owned()
            ),
            of(|sample| sample.postgres_ms).median,
            ratio(Part::Naive),
            ratio(Part::OneMessage),
            if is_product { ratio(Part::Hello) } else { "-".to_owned() },
            cell.samples.iter().map(|sample| sample.errors).sum::<u64>(),
        )
    }

    /// The median of the rounds' ratios: both cells of a round saw the same machine.
    fn ratio(&self, cell: &Cell, part: Part) -> Option<f64> {
        let subject = if part == Part::Hello {
            Subject::Health
        } else {
            cell.subject
        };
        let floor = self.find(subject, part)?;
        let rounds = cell.samples.iter().zip(&floor.samples);
        let ratios: Vec<Sample> = rounds
            .map(|(own, floor)| Sample {
                rate: own.rate / floor.rate,
                ..*own
            })
            .collect();
        Some(Spread::of(&ratios, |sample| sample.rate).median)
    }

    fn find(&self, subject: Subject, part: Part) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.subject == subject && cell.part == part)
    }

    fn verdicts(&self) -> Vec<String> {
        let mut verdicts = vec![self.creation()];
        for (subject, bar) in [(Subject::Whoami, WHOAMI_BAR), (Subject::List, LIST_BAR)] {
            let Some(product) = self.find(subject, Part::Product) else {
                continue;
            };
            let path = subject.path();
            if let Some(ratio) = self.ratio(product, Part::Naive) {
                let verdict = self.verdict(ratio >= bar);
                verdicts.push(format!("- {path}: {ratio:.2} x the naive floor (bar {bar}): {verdict}"));
            }
            let p99 = |cell: &Cell| Spread::of(&cell.samples, |sample| sample.p99_ms).median;
            for floor in [Part::Naive, Part::NaiveCrowded]
                .into_iter()
                .filter_map(|part| self.find(subject, part))
            {
                let (own, floor_ms) = (p99(product), p99(floor));
                let verdict = self.verdict(own <= floor_ms);
                verdicts.push(format!(
                    "- {path}: p99 {own:.2} ms with {CONNECTIONS} callers, {floor_ms:.2} ms at the naive floor with {} \
                     (bar: not above it): {verdict}",
                    floor.connections.unwrap_or_default(),
                ));
            }
        }
        if self.find(Subject::Whoami, Part::Naive).is_none() {
            verdicts.push("- no floors: pgbench was not found beside the PostgreSQL programs".to_owned());
        }
        verdicts.push(format!(
            "- errors: {} (bar 0): {}",
            self.errors(),
            self.verdict(self.errors() == 0)
        ));
        verdicts
    }

    fn creation(&self) -> String {
        let [p50, p99] = [50, 99].map(|percent| percentile_ms(&self.creation_us, percent));
        format!(
            "- a new tenant, from the request until it is active, one after the other: p50 {p50:.0} ms, p99 {p99:.0} ms \
             of {} (bar: p50 under {CREATION_BAR_MS:.0} ms): {}",
            self.creation_us.len(),
            self.verdict(p50 < CREATION_BAR_MS),
        )
    }

    const fn verdict(&self, is_met: bool) -> &'static str {
        match (self.is_asserted, is_met) {
            (false, _) => "not judged in a short run",
            (true, true) => "met",
            (true, false) => "MISSED",
        }
    }
}

fn name(cell: &Cell) -> String {
    let path = cell.subject.path();
    let connections = cell.connections.unwrap_or_default();
    match cell.part {
        Part::Product => format!("**{path}**"),
        Part::Hello => "bare axum hello, 2 threads".to_owned(),
        Part::Naive => format!("{path}: naive floor, {connections} connections"),
        Part::NaiveCrowded => format!("{path}: naive floor, {connections} connections (one per caller)"),
        Part::OneMessage => format!("{path}: one message, {connections} connections"),
    }
}
