//! The rows of a report.

/// A number of the tenant's: of what, which day, which measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    /// A status, a role, a type or an action.
    pub(super) of: String,
    /// The day, `YYYY-MM-DD` in UTC, where the number is that of one.
    pub(super) day: Option<String>,
    /// What is measured.
    pub(super) measure: &'static str,
    /// How much.
    pub(super) value: i64,
}

/// A report on its way.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<(&'static str, Count)>,
}

/// The first line.
const HEADING: &str = "section,item,day,measure,value\r\n";

impl Report {
    pub(super) fn add(&mut self, section: &'static str, counts: Vec<Count>) {
        self.rows.extend(counts.into_iter().map(|count| (section, count)));
    }

    pub(super) const fn n_rows(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn into_csv(self) -> Vec<u8> {
        let lines = self.rows.iter().map(|(section, count)| {
            let (item, day) = (field(&count.of), count.day.as_deref().unwrap_or_default());
            format!("{section},{item},{day},{},{}\r\n", count.measure, count.value)
        });
        let text: String = std::iter::once(HEADING.to_owned()).chain(lines).collect();
        text.into_bytes()
    }
}

/// A field as RFC 4180 quotes it. A name that a spreadsheet would take for a formula gets an apostrophe before it.
fn field(text: &str) -> String {
    let text = match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(of: &str) -> Count {
        Count {
            of: of.into(),
            day: None,
            measure: "count",
            value: 1,
        }
    }

    #[test]
    fn names_cannot_leave_their_field_nor_become_formulas() {
        let mut report = Report::default();
        report.add("roles", vec![count("a,\"b\"\n"), count("=1+1"), count("plain")]);
        let mut dated = count("vm.create");
        dated.day = Some("2026-11-21".into());
        report.add("audit_events", vec![dated]);
        assert_eq!(report.n_rows(), 4);
        assert_eq!(
            String::from_utf8(report.into_csv()).unwrap(),
            "section,item,day,measure,value\r\n\
             roles,\"a,\"\"b\"\"\n\",,count,1\r\n\
             roles,'=1+1,,count,1\r\n\
             roles,plain,,count,1\r\n\
             audit_events,vm.create,2026-11-21,count,1\r\n"
        );
    }
}
