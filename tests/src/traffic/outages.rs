//! Redis goes away, comes back, or has forgotten everything.

use std::time::{Duration, Instant};

use bulkhead_traffic::Outcome::{Failed, Succeeded};

use super::{Installation, Process};
use crate::harness::{RedisServer, eventually};

const ADA: &str = "ada@example.com";
const HOME: &str = "203.0.113.1";
const TIMEOUT: Duration = Duration::from_millis(50);

/// Once it is known that Redis is away, asking costs no waiting: far less than a timeout each.
async fn assert_calls_cost_nothing(process: &Process) {
    let started = Instant::now();
    for n in 0..200 {
        let answer = process
            .sign_in(&format!("{n}@example.com"), &format!("10.0.0.{n}"), Failed)
            .await;
        assert!(answer.is_ok());
    }
    assert!(started.elapsed() < 200 * TIMEOUT / 4, "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_redis_each_process_counts_for_itself() {
    for url in ["redis://127.0.0.1:1", ""] {
        let installation = Installation::new(url, TIMEOUT);
        let (one, other) = (installation.process().await, installation.process().await);
        assert!(!one.redis.is_up());
        one.sign_in(ADA, HOME, Succeeded).await.unwrap();
        for process in [&one, &other] {
            assert_eq!(process.guess(ADA, "198.51.100", 20).await, 10, "{url}");
        }
        one.sign_in(ADA, HOME, Failed).await.unwrap();
        other.sign_in(ADA, HOME, Failed).await.unwrap_err();
        assert_calls_cost_nothing(&one).await;
    }
}

#[tokio::test]
async fn a_paused_redis_holds_nobody_up_and_opens_nothing() {
    let server = RedisServer::start().await;
    let process = Installation::new(&server.url(), TIMEOUT).process().await;
    eventually("redis is up", async || process.redis.is_up().then_some(())).await;
    assert_eq!(process.guess(ADA, "198.51.100", 10).await, 10);
    server.pause().await;
    let started = Instant::now();
    // What was counted before the outage counts in it.
    process.sign_in(ADA, HOME, Failed).await.unwrap_err();
    process.sign_in("bob@example.com", HOME, Failed).await.unwrap();
    // Two calls wait for at most two timeouts each; the rest is for a busy machine.
    assert!(started.elapsed() < 20 * TIMEOUT, "{:?}", started.elapsed());
    eventually("the breaker opens", async || (!process.redis.is_up()).then_some(())).await;
    assert_calls_cost_nothing(&process).await;
    assert_eq!(process.guess("eve@example.com", "198.51.100", 20).await, 10);
    server.resume().await;
    let resumed = Instant::now();
    eventually("redis is up again", async || process.redis.is_up().then_some(())).await;
    assert!(resumed.elapsed() < Duration::from_secs(5), "{:?}", resumed.elapsed());
    process.sign_in(ADA, HOME, Failed).await.unwrap_err();
}

#[tokio::test]
async fn a_redis_that_was_killed_is_found_again_and_may_be_empty() {
    let server = RedisServer::start().await;
    let process = Installation::new(&server.url(), TIMEOUT).process().await;
    assert_eq!(process.guess(ADA, "198.51.100", 10).await, 10);
    let server = server.replace().await;
    // Nobody asks, and still it is noticed.
    eventually("the new one is used", async || {
        process.sign_in("bob@example.com", HOME, Succeeded).await.unwrap();
        server.ask("KEYS *known*").await.contains("known").then_some(())
    })
    .await;
    // The new one knows of no failure. That is not more than a second budget.
    assert!(process.guess(ADA, "198.51.100", 20).await <= 10);
    server.kill().await;
    eventually("its end is noticed", async || (!process.redis.is_up()).then_some(())).await;
    assert_calls_cost_nothing(&process).await;
}

#[tokio::test]
async fn a_redis_that_forgets_keys_and_scripts_does_no_harm() {
    let server = RedisServer::start().await;
    let process = Installation::new(&server.url(), Duration::from_secs(5)).process().await;
    process.sign_in(ADA, HOME, Succeeded).await.unwrap();
    assert_eq!(process.guess(ADA, "198.51.100", 20).await, 10);
    for command in ["FLUSHALL", "SCRIPT FLUSH"] {
        assert!(server.ask(command).await.starts_with("+OK"));
        process.sign_in(ADA, HOME, Succeeded).await.unwrap();
        assert!(process.redis.is_up(), "{command}");
    }
    assert_eq!(process.guess(ADA, "198.51.100", 20).await, 10);
}
