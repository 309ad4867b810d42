//! Typed failures. A module's error enum implements [`Fault`]; the API turns it into a problem and the worker into an
//! outcome, both by the one table in [`Code`].

mod code;

use std::{borrow::Cow, time::Duration};

pub use code::{Code, Kind};

/// A failure that knows what to tell the caller. `Display` is for the log and never repeats its source.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// The stable code; kind and status follow from it.
    fn code(&self) -> Code;

    /// What the caller may read; the code's title unless there is more to say. Never a cause of ours.
    fn detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.code().title())
    }

    /// What is wrong with the body, one entry per place.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }

    /// When it makes sense to try again.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the body, or the name of a parameter.
    pub pointer: String,
    /// What is wrong with it, for a person.
    pub detail: String,
}

impl Violation {
    /// A violation at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}
