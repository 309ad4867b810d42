//! Statements that go to the server in one simple-protocol message, without parameters.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

/// One message of one or more statements. Text values cannot be put into it: only literals of the program and values
/// whose text form needs no quoting rules. What has text parameters goes through `query!` in a transaction.
#[derive(Debug, Clone, Default)]
pub struct Message(String);

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(String::with_capacity(512))
    }

    /// A piece of SQL as it stands in the program.
    #[must_use]
    pub fn sql(mut self, sql: &'static str) -> Self {
        self.0.push_str(sql);
        self
    }

    /// A UUID literal.
    #[must_use]
    pub fn uuid(mut self, value: Uuid) -> Self {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "'{}'::uuid", value.hyphenated());
        self
    }

    /// An integer literal; negative ones in parentheses, so that `- -1` cannot begin a comment.
    #[must_use]
    pub fn int(mut self, value: i64) -> Self {
        let _ = if value < 0 {
            write!(self.0, "({value})")
        } else {
            write!(self.0, "{value}")
        };
        self
    }

    /// A point in time, to the microsecond.
    #[must_use]
    pub fn time(mut self, value: DateTime<Utc>) -> Self {
        let _ = write!(self.0, "to_timestamp({}::numeric / 1000000)", value.timestamp_micros());
        self
    }

    /// Ends a statement; the next piece begins another one of the same message.
    #[must_use]
    pub fn then(mut self) -> Self {
        self.0.push(';');
        self
    }

    /// The statements as text, for `EXPLAIN` and for comparing them with their checked twins.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A point in time that was asked for as `date_part('epoch', ...)`: messages answer in text, and reading the text of a
/// timestamp takes longer than all else in a row. Exact to the microsecond until the year 2255.
pub fn from_epoch(row: &PgRow, index: usize) -> Result<DateTime<Utc>, sqlx::Error> {
    let seconds: f64 = row.try_get(index)?;
    #[expect(clippy::cast_possible_truncation, reason = "what saturates is no time and refused")]
    let micros = (seconds * 1e6).round() as i64;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| sqlx::Error::ColumnDecode {
        index: index.to_string(),
        source: "not a point in time".into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_never_carry_a_quote_or_a_semicolon_of_their_own(bits: u128, int: i64, micros in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let message = Message::new()
                .uuid(Uuid::from_u128(bits))
                .int(int)
                .time(DateTime::from_timestamp_micros(micros).unwrap());
            let text = message.as_str();
            prop_assert_eq!(text.matches('\'').count(), 2);
            prop_assert!(!text.contains(';') && !text.contains("--") && !text.contains("/*") && !text.contains('\\'));
        }
    }
}
