//! The times and answers of two classes of addresses, and what tells them apart.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use crate::sample::percentile_ms;

pub(crate) const COLUMNS: &str = "\
| | pairs | with an account, p50 ms | without, p50 ms | difference | AUC | answers | bars |
|---|---|---|---|---|---|---|---|
";

const AUC_BAR: f64 = 0.55;
const MEDIANS_BAR: f64 = 0.05;

/// What was seen of both classes; times in microseconds.
#[derive(Default)]
pub(crate) struct Classes {
    known_us: Vec<u32>,
    unknown_us: Vec<u32>,
    /// Each different status and body, as text.
    known: HashSet<String>,
    unknown: HashSet<String>,
}

impl Classes {
    pub(crate) fn note(&mut self, is_known: bool, took: Duration, (status, body): (u16, Value)) {
        let (times, answers) = if is_known {
            (&mut self.known_us, &mut self.known)
        } else {
            (&mut self.unknown_us, &mut self.unknown)
        };
        times.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        answers.insert(format!("{status} {body}"));
    }

    /// How often a time of one class is longer than one of the other, whichever way it leans: 0.5 to 1.
    fn auc(&self) -> f64 {
        let mut others = self.unknown_us.clone();
        others.sort_unstable();
        let count = |part: usize| u32::try_from(part).map_or(f64::NAN, f64::from);
        let longer = |us: &u32| {
            let below = others.partition_point(|other| other < us);
            let equal = others.partition_point(|other| other <= us) - below;
            count(below) + count(equal) / 2.0
        };
        let sum: f64 = self.known_us.iter().map(longer).sum();
        let auc = sum / (count(self.known_us.len()) * count(others.len()));
        auc.max(1.0 - auc)
    }

    fn medians(&self) -> [f64; 2] {
        [&self.known_us, &self.unknown_us].map(|times| {
            let mut sorted = times.clone();
            sorted.sort_unstable();
            percentile_ms(&sorted, 50)
        })
    }

    fn difference(&self) -> f64 {
        let [known, unknown] = self.medians();
        (known - unknown).abs() / unknown
    }

    /// Whether somebody who cannot see inside can tell, by the bars.
    pub(crate) fn are_told_apart(&self) -> bool {
        let is_within = self.auc() <= AUC_BAR && self.difference() <= MEDIANS_BAR;
        !is_within || self.known != self.unknown
    }

    pub(crate) fn line(&self, name: &str) -> String {
        let [known, unknown] = self.medians();
        let answers = if self.known == self.unknown {
            "equal"
        } else {
            "DIFFERENT"
        };
        let verdict = if self.are_told_apart() { "MISSED" } else { "met" };
        format!(
            "| {name} | {} | {known:.2} | {unknown:.2} | {:.1} % (bar {:.0} %) | {:.3} (bar {AUC_BAR}) | {answers} | {verdict} |\n",
            self.known_us.len(),
            self.difference() * 100.0,
            MEDIANS_BAR * 100.0,
            self.auc()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classes(known: &[u64], unknown: &[u64]) -> Classes {
        let mut classes = Classes::default();
        for (times, is_known) in [(known, true), (unknown, false)] {
            for us in times {
                classes.note(is_known, Duration::from_micros(*us), (401, json!({})));
            }
        }
        classes
    }

    #[test]
    fn equal_times_are_a_coin_and_apart_ones_are_told() {
        let alike = classes(&[100, 200, 300], &[100, 200, 300]);
        assert!((alike.auc() - 0.5).abs() < 1e-9 && !alike.are_told_apart());
        let apart = classes(&[100, 110], &[200, 210]);
        assert!((apart.auc() - 1.0).abs() < 1e-9 && apart.are_told_apart());
        assert!((classes(&[200, 210], &[100, 110]).auc() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn another_answer_tells_them_apart_at_equal_times() {
        let mut classes = classes(&[100], &[100]);
        classes.note(true, Duration::from_micros(100), (404, json!({})));
        classes.note(false, Duration::from_micros(100), (401, json!({})));
        assert!(classes.are_told_apart() && classes.line("x").contains("DIFFERENT"));
    }
}
