//! The header `Idempotency-Key`: the same request under the same key happens once, however often it is sent.

use std::str::FromStr;

use crate::fault::Violation;

/// A caller's key: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let is_key = (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_key {
            Ok(Self(text.into()))
        } else {
            Err(Violation::new(
                "Idempotency-Key",
                "must have 1 to 255 printable ASCII characters",
            ))
        }
    }
}
