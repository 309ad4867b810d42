//! Signing keys follow one another without anybody noticing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bulkhead_iam::{
    Iam,
    signing_keys::{
        SigningKeyError,
        service::{self, Keeper, follow, keep},
    },
    tokens::{Grant, TokenError},
};
use bulkhead_kernel::ids::{IdentityId, SessionId};
use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio::{sync::RwLock, task::JoinSet};

use super::{Desk, key_files, rotation::n_waiting};
use crate::harness::{eventually, run};

const DAY: Duration = Duration::from_hours(24);
const LIFE_DAYS: i64 = 90;
const ANNOUNCE_DAYS: i64 = 14;

fn keeper(desk: &Desk) -> Keeper {
    Keeper::with_files(
        desk.db.clone(),
        key_files(),
        desk.iam.settings.clone(),
        desk.clock.clone(),
    )
}

fn token(iam: &Iam) -> String {
    let grant = Grant {
        identity: IdentityId::new(),
        session: SessionId::new(),
        tenant: None,
        methods: vec!["pwd".into()],
        signed_in_at: iam.clock.now(),
    };
    iam.tokens.issue(grant).unwrap()
}

/// The id of the key that signs.
fn signing(iam: &Iam) -> String {
    iam.tokens.jwks()[0].id.clone()
}

async fn n_rows(desk: &Desk, condition: &str) -> i64 {
    let text = format!("SELECT count(*) FROM control.signing_keys WHERE {condition}");
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query_scalar(sqlx::AssertSqlSafe(text))
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_newest_file_signs_on_as_the_first_key_and_the_older_one_verifies_as_long_as_a_token() {
    let desk = Desk::new().await;
    let before = (token(&desk.iam), signing(&desk.iam));
    let (_, elsewhere) = desk.another();
    let (one, other) = tokio::join!(follow(&desk.iam), follow(&elsewhere));
    one.unwrap();
    other.unwrap();
    for iam in [&desk.iam, &elsewhere] {
        assert!(iam.tokens.verify(&before.0).is_ok());
        assert_eq!((signing(iam), iam.tokens.jwks().len()), (before.1.clone(), 2));
    }
    assert_eq!(n_rows(&desk, "true").await, 2);
    desk.clock.advance(TimeDelta::minutes(12));
    assert_eq!(desk.iam.tokens.jwks().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_three_rotations_no_token_fails_in_either_process_and_then_the_first_key_is_refused() {
    let desk = Desk::new().await;
    // A process that never looks at the rows: what it signs is signed by the key of the file.
    let (_, stale) = desk.another();
    let (_, other) = desk.another();
    let processes = Arc::new([other, desk.another().1]);
    for process in processes.iter() {
        follow(process).await.unwrap();
    }
    let (jumping, is_over, n_verified) = (
        Arc::new(RwLock::new(())),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut load = JoinSet::new();
    for n in 0..4 {
        let (processes, jumping) = (Arc::clone(&processes), Arc::clone(&jumping));
        let (is_over, n_verified) = (Arc::clone(&is_over), Arc::clone(&n_verified));
        load.spawn(async move {
            while !is_over.load(Relaxed) {
                let _in_time = jumping.read().await;
                let token = token(&processes[n % 2]);
                for process in processes.iter() {
                    process.tokens.verify(&token).unwrap();
                }
                n_verified.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    let keeper = keeper(&desk);
    let mut keys = vec![signing(&processes[0])];
    for _ in 0..3 {
        // The day the next key is announced: each process looks once, and not again before it signs.
        jump(&desk, &jumping, LIFE_DAYS - ANNOUNCE_DAYS).await;
        keep(&keeper).await.unwrap();
        for process in processes.iter() {
            follow(process).await.unwrap();
            assert_eq!(Some(&signing(process)), keys.last(), "announced, not yet used");
            assert_eq!(process.tokens.jwks().len(), 2);
        }
        let n_before = n_verified.load(Relaxed);
        jump_to_the_eve(&desk, &jumping).await;
        // Half an hour around the change, in steps that a token outlives.
        let mut about = Vec::new();
        for _ in 0..60 {
            about.extend(processes.iter().map(token));
            about = about.split_off(about.len().saturating_sub(20));
            desk.clock.advance(TimeDelta::seconds(30));
            for process in processes.iter() {
                for token in &about {
                    process.tokens.verify(token).unwrap();
                }
            }
            tokio::task::yield_now().await;
        }
        assert_ne!(Some(&signing(&processes[0])), keys.last());
        keys.push(signing(&processes[1]));
        while n_verified.load(Relaxed) == n_before {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Relaxed);
    while let Some(done) = load.join_next().await {
        done.unwrap();
    }
    let old = token(&stale);
    assert!(stale.tokens.verify(&old).is_ok());
    assert!(matches!(processes[0].tokens.verify(&old), Err(TokenError::Invalid)));
    keep(&keeper).await.unwrap();
    assert_eq!(n_rows(&desk, "wrapped IS NOT NULL").await, 1);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

/// Lets days pass while no token is on its way.
async fn jump(desk: &Desk, jumping: &RwLock<()>, days: i64) {
    let _nobody = jumping.write().await;
    desk.clock.advance(TimeDelta::days(days));
}

/// A quarter of an hour before the announced key signs.
async fn jump_to_the_eve(desk: &Desk, jumping: &RwLock<()>) {
    let mut connection = desk.test.connect("postgres").await;
    let at = sqlx::query_scalar!(r#"SELECT max(activates_at) AS "at!" FROM control.signing_keys"#)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let _nobody = jumping.write().await;
    desk.clock.advance(at - desk.clock.now() - TimeDelta::minutes(15));
}

#[tokio::test]
async fn many_workers_at_once_announce_one_key() {
    let desk = Desk::new().await;
    follow(&desk.iam).await.unwrap();
    desk.clock.advance(TimeDelta::days(LIFE_DAYS));
    let keepers: Vec<_> = (0..4).map(|_| keeper(&desk)).collect();
    for done in join_all(keepers.iter().map(keep)).await {
        done.unwrap();
    }
    assert_eq!(n_rows(&desk, "retires_at IS NULL").await, 1);
    assert_eq!(n_rows(&desk, "true").await, 3);
}

#[tokio::test]
async fn an_operators_key_takes_the_place_of_one_that_waits_for_later() {
    let desk = Desk::new().await;
    let keeper = keeper(&desk);
    service::rotate(&keeper, DAY).await.unwrap();
    let sooner = service::rotate(&keeper, Duration::from_mins(10)).await.unwrap();
    follow(&desk.iam).await.unwrap();
    let before = token(&desk.iam);
    assert_ne!(signing(&desk.iam), sooner);
    desk.clock.advance(TimeDelta::minutes(10));
    assert_eq!(signing(&desk.iam), sooner);
    desk.clock.advance(TimeDelta::days(1));
    follow(&desk.iam).await.unwrap();
    assert_eq!(signing(&desk.iam), sooner);
    assert!(desk.iam.tokens.verify(&before).is_err());
    assert_eq!(desk.iam.tokens.jwks().len(), 1);
}

#[tokio::test]
async fn a_key_is_announced_in_full_however_long_it_waited_for_its_turn() {
    let desk = Desk::new().await;
    let keeper = keeper(&desk);
    follow(&desk.iam).await.unwrap();
    let mut holder = desk.test.connect("postgres").await;
    let hold = "BEGIN; LOCK TABLE control.signing_keys IN SHARE ROW EXCLUSIVE MODE";
    run(&mut holder, hold).await;
    let release = async {
        eventually("it waits", async || (n_waiting(&desk).await == 1).then_some(())).await;
        desk.clock.advance(TimeDelta::minutes(9));
        run(&mut holder, "COMMIT").await;
    };
    let (announced, ()) = tokio::join!(service::rotate(&keeper, Duration::from_mins(10)), release);
    desk.clock.advance(TimeDelta::minutes(9));
    follow(&desk.iam).await.unwrap();
    assert_ne!(signing(&desk.iam), announced.unwrap());
}

#[tokio::test]
async fn private_keys_are_of_no_use_to_whoever_reads_or_moves_their_rows() {
    let desk = Desk::new().await;
    follow(&desk.iam).await.unwrap();
    let mut connection = desk.test.connect("postgres").await;
    let wrapped = sqlx::query_scalar!(r#"SELECT wrapped AS "wrapped!" FROM control.signing_keys"#)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for wrapped in wrapped {
        assert!(!String::from_utf8_lossy(&wrapped).contains("PRIVATE"));
    }
    desk.run(
        "UPDATE control.signing_keys AS k SET wrapped = o.wrapped FROM control.signing_keys AS o WHERE o.id <> k.id",
    )
    .await;
    let (_, fresh) = desk.another();
    assert!(matches!(follow(&fresh).await, Err(SigningKeyError::Unwrap(_))));
    let other = Desk::with(&[("BULKHEAD__AUTH__KEY_ENCRYPTION_KEY", &"k".repeat(32))]).await;
    follow(&other.iam).await.unwrap();
    // What knows the rows already goes on with its keys.
    assert!(follow(&desk.iam).await.is_ok());
}
