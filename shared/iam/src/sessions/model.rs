//! Sessions, and the rule by which a refresh token is judged.

use std::time::Duration;

use bulkhead_kernel::{
    ids::{IdentityId, RefreshTokenId, SessionId, TenantId},
    secret::Secret,
};
use bulkhead_tenancy::TenantSelector;
use chrono::{DateTime, TimeDelta, Utc};

/// Somebody wants to sign in.
pub struct SignIn {
    /// The address, as typed.
    pub email: String,
    /// The password, as typed.
    pub password: Secret,
    /// What the device calls itself, for the list of sessions.
    pub device: String,
    /// The tenant to be bound to; without it the only one the person can enter.
    pub tenant: Option<TenantSelector>,
}

/// What a person gets who signs in or carries on. It has no `Debug`, as it holds secrets.
pub struct TokenPair {
    /// For every request.
    pub access_token: String,
    /// How long the access token is good for.
    pub expires_in: Duration,
    /// For the next pair.
    pub refresh_token: String,
    /// Who signed in.
    pub identity: IdentityId,
    /// The session both belong to.
    pub session: SessionId,
    /// The tenant both are bound to.
    pub tenant: Option<TenantId>,
}

/// One sign-in on one device, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The session.
    pub session: SessionId,
    /// What the device calls itself.
    pub name: String,
    /// When it began.
    pub signed_in_at: DateTime<Utc>,
    /// When the last pair was given.
    pub last_used_at: DateTime<Utc>,
    /// When it ends in any case.
    pub expires_at: DateTime<Utc>,
    /// Whether the one who asks does so from it.
    pub is_current: bool,
}

/// One sign-in on one device.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) identity: IdentityId,
    pub(super) methods: Vec<String>,
    pub(super) signed_in_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    /// Neither revoked nor of a person who is switched off.
    pub(super) is_open: bool,
}

/// What is kept of a refresh token.
#[derive(Debug, Clone)]
pub(super) struct StoredToken {
    pub(super) id: RefreshTokenId,
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) secret_hash: Vec<u8>,
    pub(super) tenant: Option<TenantId>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) used_at: Option<DateTime<Utc>>,
}

/// What becomes of a refresh token that is genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the newest: a successor is made.
    Rotate,
    /// It was used a moment ago and nobody used its successor yet: the successor is given again.
    Repeat,
    /// It was used before: somebody has a copy.
    Reused,
    /// It or its session is over.
    Over,
}

/// Judges a genuine token by its row, its session and its successor.
pub(super) fn judge(
    session: &Session,
    token: &StoredToken,
    successor: Option<&StoredToken>,
    now: DateTime<Utc>,
    leeway: Duration,
) -> Verdict {
    if !session.is_open || session.expires_at <= now {
        return Verdict::Over;
    }
    match (token.used_at, successor) {
        (None, _) if token.expires_at <= now => Verdict::Over,
        (None, _) => Verdict::Rotate,
        (Some(used_at), Some(successor)) if successor.used_at.is_none() && now - used_at < delta(leeway) => {
            Verdict::Repeat
        }
        (Some(_), _) => Verdict::Reused,
    }
}

/// A setting as a span of calendar time.
pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A device's name as it can be stored and shown: no control characters, at most 200 characters.
pub(super) fn device_name(text: &str) -> String {
    let shown: String = text.chars().filter(|char| !char.is_control()).take(200).collect();
    if shown.trim().is_empty() {
        "unknown".into()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEEWAY: Duration = Duration::from_secs(10);

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn session() -> Session {
        Session {
            id: SessionId::new(),
            identity: IdentityId::new(),
            methods: vec!["pwd".into()],
            signed_in_at: at(0),
            expires_at: at(1000),
            is_open: true,
        }
    }

    fn token(used_at: Option<i64>) -> StoredToken {
        StoredToken {
            id: RefreshTokenId::new(),
            nonce: None,
            secret_hash: Vec::new(),
            tenant: None,
            expires_at: at(100),
            used_at: used_at.map(at),
        }
    }

    fn judged(token: &StoredToken, successor: Option<&StoredToken>, now: i64) -> Verdict {
        judge(&session(), token, successor, at(now), LEEWAY)
    }

    #[test]
    fn the_newest_token_rotates_until_it_has_rested_too_long() {
        assert_eq!(judged(&token(None), None, 99), Verdict::Rotate);
        assert_eq!(judged(&token(None), None, 100), Verdict::Over);
    }

    #[test]
    fn the_predecessor_repeats_within_the_leeway_while_its_successor_is_unused() {
        let (used, fresh) = (token(Some(50)), token(None));
        assert_eq!(judged(&used, Some(&fresh), 50), Verdict::Repeat);
        assert_eq!(judged(&used, Some(&fresh), 59), Verdict::Repeat);
        assert_eq!(judged(&used, Some(&fresh), 60), Verdict::Reused);
        assert_eq!(judged(&used, Some(&token(Some(51))), 52), Verdict::Reused);
        assert_eq!(judged(&used, None, 51), Verdict::Reused);
    }

    #[test]
    fn without_leeway_nothing_repeats() {
        let (used, fresh) = (token(Some(50)), token(None));
        assert_eq!(
            judge(&session(), &used, Some(&fresh), at(50), Duration::ZERO),
            Verdict::Reused
        );
    }

    #[test]
    fn a_session_that_is_over_takes_every_token_with_it() {
        let closed = Session {
            is_open: false,
            ..session()
        };
        let old = Session {
            expires_at: at(40),
            ..session()
        };
        for session in [closed, old] {
            for (token, successor) in [(token(None), None), (token(Some(35)), Some(token(None)))] {
                assert_eq!(
                    judge(&session, &token, successor.as_ref(), at(41), LEEWAY),
                    Verdict::Over
                );
            }
        }
    }

    #[test]
    fn device_names_are_short_and_printable() {
        assert_eq!(device_name("curl/8\0.1\n"), "curl/8.1");
        assert_eq!(device_name(" \t "), "unknown");
        assert_eq!(device_name(&"é".repeat(300)).chars().count(), 200);
    }
}
