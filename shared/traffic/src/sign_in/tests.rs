//! The rules without Redis, in time that the tests make.

use super::*;

const LIMITS: SignInLimits = SignInLimits {
    failures_per_account: 10,
    failures_per_address: 50,
    window: Duration::from_mins(15),
};

fn attempt(email: &str, address: &str) -> Attempt {
    let secret: Hmac<Sha256> = Mac::new(&Sha512::digest("secret"));
    Attempt::new(&secret, email, address.parse().unwrap())
}

/// Tries a password and gives whether it was looked at.
fn try_password(local: &Local, email: &str, address: &str, outcome: Outcome, now: Instant) -> bool {
    let attempt = attempt(email, address);
    let is_admitted = local.admit(&attempt, now) == Admission::Admitted;
    if is_admitted {
        local.settle(&attempt, outcome, now);
    }
    is_admitted
}

#[test]
fn the_eleventh_wrong_password_is_refused_until_the_first_is_a_window_old() {
    let (local, start) = (Local::new(LIMITS), Instant::now());
    for n in 0..10 {
        let now = start + Duration::from_secs(n);
        let address = format!("203.0.113.{n}");
        assert!(try_password(&local, "ada@example.com", &address, Outcome::Failed, now));
    }
    let minute = Duration::from_mins(1);
    let now = start + minute;
    let eleventh = attempt("Ada@example.com", "203.0.113.99");
    assert_eq!(
        local.admit(&eleventh, now),
        Admission::Refused(LIMITS.window.saturating_sub(minute))
    );
    assert!(try_password(
        &local,
        "bob@example.com",
        "203.0.113.1",
        Outcome::Failed,
        now
    ));
    let now = start + LIMITS.window;
    assert!(try_password(
        &local,
        "ada@example.com",
        "203.0.113.99",
        Outcome::Failed,
        now
    ));
    assert!(!try_password(
        &local,
        "ada@example.com",
        "203.0.113.99",
        Outcome::Failed,
        now
    ));
}

#[test]
fn only_failures_count() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    for outcome in [Outcome::Succeeded, Outcome::Undecided] {
        for _ in 0..100 {
            assert!(try_password(&local, "ada@example.com", "203.0.113.1", outcome, now));
        }
    }
}

#[test]
fn attempts_at_the_same_time_cannot_share_what_is_left() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    let under_way: Vec<Attempt> = (0..10).map(|_| attempt("ada@example.com", "203.0.113.1")).collect();
    assert!(
        under_way
            .iter()
            .all(|attempt| local.admit(attempt, now) == Admission::Admitted)
    );
    let next = attempt("ada@example.com", "203.0.113.2");
    assert_eq!(local.admit(&next, now), Admission::Busy);
    local.settle(&under_way[0], Outcome::Undecided, now);
    assert_eq!(local.admit(&next, now), Admission::Admitted);
    // What was cut off counts as a failure.
    let later = now + UNDER_WAY;
    let last = attempt("ada@example.com", "203.0.113.2");
    assert!(matches!(local.admit(&last, later), Admission::Refused(_)));
}

#[test]
fn one_address_cannot_try_many_accounts_and_what_is_refused_costs_nothing() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    for n in 0..50 {
        let (email, address) = (format!("{n}@example.com"), format!("2001:db8::{n:x}"));
        assert!(try_password(&local, &email, &address, Outcome::Failed, now));
    }
    for _ in 0..20 {
        assert!(!try_password(
            &local,
            "ada@example.com",
            "2001:db8::ffff:1",
            Outcome::Failed,
            now
        ));
    }
    assert!(try_password(
        &local,
        "ada@example.com",
        "2001:db8:0:1::1",
        Outcome::Failed,
        now
    ));
}

#[test]
fn an_owner_at_a_known_address_is_not_locked_out() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    assert!(try_password(
        &local,
        "ada@example.com",
        "203.0.113.1",
        Outcome::Succeeded,
        now
    ));
    for n in 0..50 {
        try_password(
            &local,
            "ada@example.com",
            &format!("198.51.100.{n}"),
            Outcome::Failed,
            now,
        );
    }
    assert!(!try_password(
        &local,
        "ada@example.com",
        "198.51.100.1",
        Outcome::Failed,
        now
    ));
    for _ in 0..9 {
        assert!(try_password(
            &local,
            "ada@example.com",
            "203.0.113.1",
            Outcome::Failed,
            now
        ));
    }
    assert!(try_password(
        &local,
        "ada@example.com",
        "203.0.113.1",
        Outcome::Succeeded,
        now
    ));
    // The success has cleared the budget of that address, which is bounded as any other.
    for _ in 0..10 {
        assert!(try_password(
            &local,
            "ada@example.com",
            "203.0.113.1",
            Outcome::Failed,
            now
        ));
    }
    assert!(!try_password(
        &local,
        "ada@example.com",
        "203.0.113.1",
        Outcome::Failed,
        now
    ));
}

#[test]
fn a_success_clears_what_its_address_has_used_up_and_nothing_else() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    for _ in 0..5 {
        assert!(try_password(
            &local,
            "ada@example.com",
            "203.0.113.1",
            Outcome::Failed,
            now
        ));
        assert!(try_password(
            &local,
            "ada@example.com",
            "198.51.100.1",
            Outcome::Failed,
            now
        ));
    }
    assert!(!try_password(
        &local,
        "ada@example.com",
        "203.0.113.1",
        Outcome::Succeeded,
        now
    ));
    let later = now + LIMITS.window;
    for n in 0..9 {
        let address = if n < 4 { "203.0.113.1" } else { "198.51.100.1" };
        assert!(try_password(&local, "ada@example.com", address, Outcome::Failed, later));
    }
    assert!(try_password(
        &local,
        "ada@example.com",
        "203.0.113.1",
        Outcome::Succeeded,
        later
    ));
    for _ in 0..5 {
        assert!(try_password(
            &local,
            "ada@example.com",
            "198.51.100.1",
            Outcome::Failed,
            later
        ));
    }
    assert!(!try_password(
        &local,
        "ada@example.com",
        "198.51.100.1",
        Outcome::Failed,
        later
    ));
}

#[test]
fn what_redis_decided_is_known_here_when_it_goes_away() {
    let (local, now) = (Local::new(LIMITS), Instant::now());
    for _ in 0..10 {
        let attempt = attempt("ada@example.com", "203.0.113.1");
        local.note(&attempt, false, now);
        local.settle(&attempt, Outcome::Failed, now);
    }
    assert!(!try_password(
        &local,
        "ada@example.com",
        "203.0.113.2",
        Outcome::Failed,
        now
    ));
    local.note(&attempt("ada@example.com", "203.0.113.3"), true, now);
    assert!(try_password(
        &local,
        "ada@example.com",
        "203.0.113.3",
        Outcome::Failed,
        now
    ));
}

#[test]
fn memory_is_bounded_and_who_finds_no_place_shares_one_budget() {
    let (local, start) = (Local::with_capacity(LIMITS, 10), Instant::now());
    let flood = |n: u32, now| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).to_string();
        try_password(&local, &format!("{n}@example.com"), &address, Outcome::Failed, now)
    };
    let n_admitted = (0..1000).filter(|n| flood(*n, start)).count();
    assert!((10..=20).contains(&n_admitted), "{n_admitted}");
    assert!(local.n_budgets() <= 10);
    // Who had a place keeps it, and in the next window there is room again.
    assert!(flood(0, start));
    assert!(flood(2000, start + LIMITS.window));
    assert!(local.n_budgets() <= 4);
}
