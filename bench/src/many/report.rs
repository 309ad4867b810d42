//! The tables and what they say about the bars.

use std::fmt::Write as _;

use anyhow::bail;

use super::{
    Cell, LIMIT_MB, POOL, Variant,
    first::First,
    memory::{Growth, Memory},
    mix::Mix,
};
use crate::{
    load::CONNECTIONS,
    sample::{Sample, Spread},
};

/// Of the throughput with few tenants.
const THROUGHPUT_BAR: f64 = 0.9;

/// Milliseconds that 99 of 100 first queries stay below.
const FIRST_BAR_MS: f64 = 10.0;

/// Everything a run found out.
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) tenants: usize,
    pub(crate) tables: usize,
    pub(crate) shards: usize,
    pub(crate) growth: Growth,
    pub(crate) memory: Vec<(Variant, &'static str, Memory)>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) firsts: Vec<First>,
    pub(crate) is_asserted: bool,
}

impl Report {
    /// Markdown.
    pub(crate) fn text(&self) -> String {
        let head = format!(
            "Machine: {}\n\n{} tenants with {} tables each in {} shards; {POOL} connections for tenants in each API process; \
             {CONNECTIONS} callers, half of the requests whoami and half the list of machines.\n\n",
            self.machine, self.tenants, self.tables, self.shards,
        );
        let verdicts = self.verdicts().join("\n");
        format!(
            "{head}{}\n{}\n{}\n{verdicts}\n",
            self.memory(),
            self.throughput(),
            self.firsts()
        )
    }

    /// Fails if a request failed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let errors: u64 = self
            .cells
            .iter()
            .flat_map(|cell| &cell.samples)
            .map(|sample| sample.errors)
            .sum();
        if errors > 0 {
            bail!("{errors} requests failed");
        }
        Ok(())
    }

    fn memory(&self) -> String {
        let mut text =
            "| memory of the tenant connections | backends | private MiB | PSS MiB | largest, private MiB |\n\
                        |---|---|---|---|---|\n"
                .to_owned();
        for (variant, when, memory) in &self.memory {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "| {}, {when} | {} | {} | {} | {} |",
                self.name(*variant),
                memory.backends,
                memory.private_kib / 1024,
                memory.pss_kib / 1024,
                memory.largest_kib / 1024,
            );
        }
        let Growth { base_kib, tenant_kib } = self.growth;
        let all = POOL as u64 * (base_kib + tenant_kib * self.tenants as u64) / 1024;
        let _ = writeln!(
            text,
            "\nA backend that lists the machines of one tenant takes {base_kib} KiB, and {tenant_kib} KiB more for each \
             further one: {POOL} that have met all {} would take {all} MiB.",
            self.tenants
        );
        text
    }

    fn throughput(&self) -> String {
        let mut text =
            "| requests | tenants | req/s | min-max | p50 ms | p99 ms | CPU ms: server | + PostgreSQL | x few |\n\
                        |---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for cell in &self.cells {
            let of = |number: fn(&Sample) -> f64| Spread::of(&cell.samples, number);
            let rate = of(|sample| sample.rate);
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {:.0}-{:.0} | {:.2} | {:.2} | {:.3} | {:.3} | {:.2} |",
                match cell.mix {
                    Mix::Uniform => "uniform",
                    Mix::Zipf => "Zipf",
                    Mix::Hot => "one takes half",
                },
                self.name(cell.variant),
                rate.median,
                rate.min,
                rate.max,
                of(|sample| sample.p50_ms).median,
                of(|sample| sample.p99_ms).median,
                of(|sample| sample.server_ms).median,
                of(|sample| sample.postgres_ms).median,
                self.ratio(cell),
            );
        }
        text
    }

    fn firsts(&self) -> String {
        let mut text = "| one list of machines | p50 ms | p99 ms | server CPU p50 ms | CPU p99 ms |\n\
                        |---|---|---|---|---|\n"
            .to_owned();
        for first in &self.firsts {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                first.what, first.p50_ms, first.p99_ms, first.cpu_p50_ms, first.cpu_p99_ms
            );
        }
        text
    }

    /// The median of the rounds' ratios to the same requests for few tenants: both saw the same machine.
    fn ratio(&self, cell: &Cell) -> f64 {
        let few = self
            .cells
            .iter()
            .find(|few| few.variant == Variant::Few && few.mix == cell.mix);
        let rounds = few.into_iter().flat_map(|few| cell.samples.iter().zip(&few.samples));
        let ratios: Vec<_> = rounds
            .map(|(own, few)| Sample {
                rate: own.rate / few.rate,
                ..*own
            })
            .collect();
        Spread::of(&ratios, |sample| sample.rate).median
    }

    fn verdicts(&self) -> Vec<String> {
        let most = |variant| {
            let all = self.memory.iter().filter(|(own, ..)| *own == variant);
            all.map(|(.., memory)| memory.private_kib / 1024).max().unwrap_or(0)
        };
        let (bounded, unbounded) = (most(Variant::Many), most(Variant::Unbounded));
        let mut verdicts = vec![format!(
            "- private memory: {bounded} MiB with bounds, {unbounded} MiB without (bar: under {LIMIT_MB} MiB with, above it \
             without): {}",
            self.verdict((1..LIMIT_MB).contains(&bounded) && unbounded > LIMIT_MB)
        )];
        for cell in self.cells.iter().filter(|cell| cell.variant == Variant::Many) {
            let ratio = self.ratio(cell);
            verdicts.push(format!(
                "- {:?}: {ratio:.2} x the throughput with few tenants (bar {THROUGHPUT_BAR}): {}",
                cell.mix,
                self.verdict(ratio >= THROUGHPUT_BAR)
            ));
        }
        for first in self.firsts.iter().filter(|first| first.is_barred) {
            verdicts.push(format!(
                "- {}: p99 {:.2} ms, of which the server ran {:.2} ms (bar: under {FIRST_BAR_MS:.0} ms): {}",
                first.what,
                first.p99_ms,
                first.cpu_p99_ms,
                self.verdict(first.p99_ms < FIRST_BAR_MS)
            ));
        }
        verdicts
    }

    fn name(&self, variant: Variant) -> String {
        match variant {
            Variant::Many => format!("**{}**", self.tenants),
            Variant::Unbounded => format!("{} without affinity and retirement", self.tenants),
            Variant::Few => format!("few ({})", super::FEW.min(self.tenants / 2)),
        }
    }

    const fn verdict(&self, is_met: bool) -> &'static str {
        match (self.is_asserted, is_met) {
            (false, _) => "not judged in a short run",
            (true, true) => "met",
            (true, false) => "MISSED",
        }
    }
}
