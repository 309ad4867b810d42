//! Statements that go to the server in one simple-protocol message, without parameters.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

/// One message of one or more statements. Text values cannot be put into it: only literals of the program and values
/// whose text form needs no quoting rules. What has text parameters goes through `query!` in a transaction.
#[derive(Debug, Clone)]
pub struct Message(Vec<Statement>);

/// One statement of a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement(Vec<Piece>);

/// What a statement is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Sql(&'static str),
    Uuid(Uuid),
    Int(i64),
    Time(DateTime<Utc>),
}

/// A statement without its values: what one plan serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Sql(&'static str),
    Value(&'static str),
}

impl Default for Message {
    fn default() -> Self {
        Self(vec![Statement::default()])
    }
}

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A piece of SQL as it stands in the program.
    #[must_use]
    pub fn sql(self, sql: &'static str) -> Self {
        self.with(Piece::Sql(sql))
    }

    /// A UUID literal.
    #[must_use]
    pub fn uuid(self, value: Uuid) -> Self {
        self.with(Piece::Uuid(value))
    }

    /// An integer literal; negative ones in parentheses, so that `- -1` cannot begin a comment.
    #[must_use]
    pub fn int(self, value: i64) -> Self {
        self.with(Piece::Int(value))
    }

    /// A point in time, to the microsecond.
    #[must_use]
    pub fn time(self, value: DateTime<Utc>) -> Self {
        self.with(Piece::Time(value))
    }

    /// Ends a statement; the next piece begins another one of the same message.
    #[must_use]
    pub fn then(mut self) -> Self {
        self.0.push(Statement::default());
        self
    }

    fn with(mut self, piece: Piece) -> Self {
        if let Some(statement) = self.0.last_mut() {
            statement.0.push(piece);
        }
        self
    }

    /// The statements as text, for `EXPLAIN` and for comparing them with their checked twins.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut sql = String::with_capacity(1024);
        for (index, statement) in self.0.iter().enumerate() {
            if index > 0 {
                sql.push(';');
            }
            statement.write(&mut sql);
        }
        sql
    }

    pub(crate) fn statements(&self) -> &[Statement] {
        &self.0
    }
}

impl Statement {
    /// The statement with its values.
    pub(crate) fn write(&self, sql: &mut String) {
        for piece in &self.0 {
            piece.write(sql);
        }
    }

    /// The statement with a parameter in the place of each value.
    pub(crate) fn write_template(&self, sql: &mut String) {
        let mut n_values = 0;
        for piece in &self.0 {
            if let Piece::Sql(text) = piece {
                sql.push_str(text);
            } else {
                n_values += 1;
                // Writing to a String cannot fail, here and below.
                let _ = write!(sql, "${n_values}");
            }
        }
    }

    /// The values, or their types, in parentheses; nothing where there are none.
    fn write_list(&self, sql: &mut String, write: impl Fn(&Piece, &mut String)) {
        let mut opening = '(';
        for piece in self.0.iter().filter(|piece| !matches!(piece, Piece::Sql(_))) {
            sql.push(opening);
            write(piece, sql);
            opening = ',';
        }
        if opening == ',' {
            sql.push(')');
        }
    }

    pub(crate) fn write_types(&self, sql: &mut String) {
        self.write_list(sql, |piece, sql| {
            if let Shape::Value(name) = piece.shape() {
                sql.push_str(name);
            }
        });
    }

    pub(crate) fn write_values(&self, sql: &mut String) {
        self.write_list(sql, Piece::write);
    }

    /// What has one plan, whatever its values.
    pub(crate) fn shape(&self) -> impl Iterator<Item = Shape> {
        self.0.iter().map(Piece::shape)
    }
}

impl Piece {
    const fn shape(&self) -> Shape {
        match self {
            Self::Sql(sql) => Shape::Sql(sql),
            Self::Uuid(_) => Shape::Value("uuid"),
            Self::Int(_) => Shape::Value("bigint"),
            Self::Time(_) => Shape::Value("timestamptz"),
        }
    }

    fn write(&self, sql: &mut String) {
        let _ = match self {
            Self::Sql(text) => sql.write_str(text),
            Self::Uuid(value) => write!(sql, "'{}'::uuid", value.hyphenated()),
            Self::Int(value) if *value < 0 => write!(sql, "({value})"),
            Self::Int(value) => write!(sql, "{value}"),
            Self::Time(value) => write!(sql, "to_timestamp({}::numeric / 1000000)", value.timestamp_micros()),
        };
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
            let text = message.to_sql();
            prop_assert_eq!(text.matches('\'').count(), 2);
            prop_assert!(!text.contains(';') && !text.contains("--") && !text.contains("/*") && !text.contains('\\'));
        }
    }
}
