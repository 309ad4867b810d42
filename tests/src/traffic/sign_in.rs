//! How often signing in may fail.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_traffic::Outcome::{Failed, Succeeded, Undecided};
use tokio::task::JoinSet;

use super::{Installation, LIMITS, PATIENT};
use crate::harness::{RedisServer, test_env};

const ADA: &str = "ada@example.com";
const HOME: &str = "203.0.113.1";

async fn installation() -> Installation {
    Installation::new(&test_env("TEST_REDIS_URL"), PATIENT)
}

#[tokio::test]
async fn the_eleventh_wrong_password_is_refused_by_every_process() {
    let installation = installation().await;
    let (one, other) = (installation.process().await, installation.process().await);
    assert!(one.redis.is_up() && other.redis.is_up());
    for n in 0..10 {
        let process = if n % 2 == 0 { &one } else { &other };
        process
            .sign_in(ADA, &format!("198.51.100.{n}"), Failed)
            .await
            .unwrap_or_else(|_| panic!("attempt {n} is allowed"));
    }
    for process in [&one, &other] {
        let refused = process.sign_in("Ada@Example.com", HOME, Succeeded).await.unwrap_err();
        assert_eq!(refused.code(), Code::RateLimited);
        let wait = refused.retry_after().unwrap();
        assert!(
            wait <= LIMITS.window && wait > LIMITS.window - Duration::from_secs(120),
            "{wait:?}"
        );
        process.sign_in("bob@example.com", HOME, Failed).await.unwrap();
    }
}

#[tokio::test]
async fn attempts_at_the_same_time_cannot_share_what_is_left() {
    let installation = installation().await;
    let processes = [
        Arc::new(installation.process().await),
        Arc::new(installation.process().await),
    ];
    let mut attempts = JoinSet::new();
    for n in 0..100 {
        let process = Arc::clone(&processes[n % 2]);
        attempts.spawn(async move { process.sign_in(ADA, &format!("198.51.100.{n}"), Failed).await.is_ok() });
    }
    let looked_at = attempts
        .join_all()
        .await
        .into_iter()
        .filter(|is_looked_at| *is_looked_at)
        .count();
    assert_eq!(looked_at, 10);
}

#[tokio::test]
async fn many_right_passwords_at_the_same_time_are_let_in() {
    let process = Arc::new(installation().await.process().await);
    let mut attempts = JoinSet::new();
    for _ in 0..40 {
        let process = Arc::clone(&process);
        attempts.spawn(async move { process.sign_in(ADA, HOME, Succeeded).await });
    }
    assert!(attempts.join_all().await.into_iter().all(|answer| answer.is_ok()));
}

#[tokio::test]
async fn only_failures_count() {
    let process = installation().await.process().await;
    for outcome in [Undecided, Succeeded] {
        for n in 0..60 {
            process
                .sign_in(ADA, HOME, outcome)
                .await
                .unwrap_or_else(|_| panic!("{outcome:?} {n}"));
        }
    }
    assert_eq!(process.guess(ADA, "198.51.100", 12).await, 10);
}

#[tokio::test]
async fn one_address_cannot_try_many_accounts() {
    let process = installation().await.process().await;
    for n in 0..50 {
        let (email, address) = (format!("{n}@example.com"), format!("2001:db8:1:2::{n:x}"));
        process.sign_in(&email, &address, Failed).await.unwrap();
    }
    for n in 0..20 {
        let address = format!("2001:db8:1:2:{n:x}::1");
        process.sign_in(ADA, &address, Failed).await.unwrap_err();
    }
    // Neighbours are not concerned, and the account was not charged for what was refused.
    for n in 0..10 {
        process
            .sign_in(ADA, &format!("2001:db8:1:3::{n:x}"), Failed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn nobody_can_lock_the_owner_out_from_elsewhere() {
    let installation = installation().await;
    let (one, other) = (installation.process().await, installation.process().await);
    one.sign_in(ADA, HOME, Succeeded).await.unwrap();
    assert_eq!(one.guess(ADA, "198.51.100", 20).await, 10);
    one.sign_in(ADA, "203.0.113.2", Succeeded).await.unwrap_err();
    // At home there is room for mistakes, in every process, and a success makes room again.
    for process in [&one, &other] {
        for _ in 0..9 {
            process.sign_in(ADA, HOME, Failed).await.unwrap();
        }
        process.sign_in(ADA, HOME, Succeeded).await.unwrap();
    }
    // But a neighbour at that address cannot guess for ever either.
    for _ in 0..10 {
        other.sign_in(ADA, HOME, Failed).await.unwrap();
    }
    one.sign_in(ADA, HOME, Failed).await.unwrap_err();
}

#[tokio::test]
async fn a_success_clears_what_its_address_has_used_up() {
    let process = installation().await.process().await;
    for _ in 0..9 {
        process.sign_in(ADA, HOME, Failed).await.unwrap();
    }
    process.sign_in(ADA, HOME, Succeeded).await.unwrap();
    assert_eq!(process.guess(ADA, "198.51.100", 20).await, 10);
}

#[tokio::test]
async fn redis_learns_no_address_of_a_person_and_keeps_nothing_for_ever() {
    let server = RedisServer::start().await;
    let process = Installation::new(&server.url(), PATIENT).process().await;
    for outcome in [Failed, Succeeded, Failed, Undecided] {
        process.sign_in(ADA, HOME, outcome).await.unwrap();
    }
    process.sign_in(ADA, "198.51.100.1", Failed).await.unwrap();
    let said = server.ask("KEYS *").await;
    let keys: Vec<&str> = said.lines().filter(|line| line.starts_with("test-")).collect();
    assert_eq!(keys.len(), 5, "{said}");
    for key in keys {
        assert!(!key.contains("ada") && !key.contains("example"), "{key}");
        let time_to_live = server.ask(&format!("PTTL {key}")).await;
        let millis = time_to_live.lines().next().unwrap().trim_start_matches(':');
        let is_mark = key.contains(":known:");
        let longest = if is_mark { 30 * 86_400_000 } else { 900_000 };
        assert!(
            (1..=longest).contains(&millis.parse::<i64>().unwrap()),
            "{key}: {time_to_live}"
        );
    }
}
