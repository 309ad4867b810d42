//! How an exchange fails.

use std::io;

/// Why there was no whole answer. The causes are for operators.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The name does not resolve.
    #[error("the name does not resolve")]
    NoSuchName(#[source] io::Error),
    /// No address of it may be called.
    #[error("no address of the name may be called")]
    Forbidden,
    /// Nobody takes the connection.
    #[error("the connection was not taken")]
    Unreachable(#[source] io::Error),
    /// It took too long.
    #[error("the time is over")]
    TimedOut,
    /// The other side does not prove who it is, or does not speak TLS.
    #[error("there is no protected connection")]
    Tls(#[source] io::Error),
    /// What came is no answer.
    #[error("what came is no HTTP answer")]
    Protocol(#[source] hyper::Error),
    /// The answer is larger than what is taken.
    #[error("the answer is too large")]
    TooLarge,
}

impl OutboundError {
    /// What whoever named the address may know. Names that do not resolve, addresses that may not be called and hosts that do
    /// not answer look the same, so that nobody learns of our network by asking.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoSuchName(_) | Self::Forbidden | Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Tls(_) => "tls_failed",
            Self::Protocol(_) => "no_http_answer",
            Self::TooLarge => "answer_too_large",
        }
    }
}
