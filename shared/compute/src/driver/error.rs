//! How drivers fail.

use std::{fmt, time::Duration};

/// What sort of failure it is; decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Passes by itself.
    Transient,
    /// Too many calls; costs no attempt.
    Throttled,
    /// Something else is being done to the machine, or its power is elsewhere: look again, then decide again.
    Busy,
    /// There is no room at the moment.
    Capacity,
    /// Our own account at the provider is full: an operator has to act.
    ProviderQuota,
    /// The provider does not let us in: an operator has to act.
    Credentials,
    /// The identity is taken: by ourselves, then adopt it, or by something else.
    IdentityExists,
    /// There is no such thing. For a deletion that is success.
    NotFound,
    /// The machine can never be made like this.
    InvalidSpec,
    /// The provider cannot do this at all.
    Unsupported,
    /// The epoch is old: the lease has gone to another worker, which carries on.
    Fenced,
    /// A failure we have no word for yet.
    Unknown,
}

impl Class {
    /// Trying again cannot help.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::InvalidSpec | Self::Unsupported | Self::IdentityExists)
    }
}

/// A failed call. `Display` is for the log; [`DriverError::public`] is all a tenant may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverError {
    /// What sort of failure it is.
    pub class: Class,
    /// Our own stable word for it.
    pub code: &'static str,
    /// The provider's word for it, with the id of the request there.
    pub provider_code: Option<String>,
    /// For tenants: no hosts, no names of others.
    pub public: Option<String>,
    /// For the log.
    pub private: Option<String>,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The effect may have happened: look before asking again.
    pub is_ambiguous: bool,
}

impl DriverError {
    /// A failure with nothing more known about it.
    #[must_use]
    pub const fn new(class: Class, code: &'static str) -> Self {
        Self {
            class,
            code,
            provider_code: None,
            public: None,
            private: None,
            retry_after: None,
            is_ambiguous: false,
        }
    }

    /// With a sentence for the tenant.
    #[must_use]
    pub fn public(mut self, text: impl Into<String>) -> Self {
        self.public = Some(text.into());
        self
    }

    /// With a sentence for the log.
    #[must_use]
    pub fn private(mut self, text: impl Into<String>) -> Self {
        self.private = Some(text.into());
        self
    }

    /// The effect may have happened.
    #[must_use]
    pub const fn ambiguous(mut self) -> Self {
        self.is_ambiguous = true;
        self
    }

    /// What a tenant may read.
    #[must_use]
    pub fn public_text(&self) -> String {
        self.public
            .clone()
            .unwrap_or_else(|| format!("The provider refused or failed ({}).", self.code))
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.class, self.code)?;
        if let Some(code) = &self.provider_code {
            write!(f, " ({code})")?;
        }
        if let Some(text) = self.private.as_ref().or(self.public.as_ref()) {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DriverError {}
