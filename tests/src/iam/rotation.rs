//! Refresh tokens: random histories against a model of the promise, and many at once.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_iam::{
    sessions::{SessionError, TokenPair, service as sessions},
    tokens::Claims,
};
use bulkhead_kernel::ids::SessionId;
use chrono::TimeDelta;
use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{Desk, principal};
use crate::harness::eventually;

const LEEWAY: i64 = 10;
const IDLE: i64 = 1000;
const ABSOLUTE: i64 = 3000;
const N_CONNECTIONS: i64 = 4;

async fn desk(leeway: i64) -> Desk {
    Desk::with(&[
        ("BULKHEAD__AUTH__REFRESH_LEEWAY_SECS", &leeway.to_string()),
        ("BULKHEAD__AUTH__REFRESH_IDLE_SECS", &IDLE.to_string()),
        ("BULKHEAD__AUTH__REFRESH_ABSOLUTE_SECS", &ABSOLUTE.to_string()),
        ("BULKHEAD__DATABASE__CONTROL_CONNECTIONS", &N_CONNECTIONS.to_string()),
    ])
    .await
}

/// One token of the line, as the promise sees it.
struct Link {
    text: String,
    made: i64,
    used: Option<i64>,
}

/// What the promise says of one session: a line of tokens, each born of the one before.
struct Model {
    now: i64,
    line: Vec<Link>,
    is_ended: bool,
}

/// What a presented token must bring.
#[derive(Debug, PartialEq)]
enum Expected {
    New,
    Again(String),
    Refused,
}

impl Model {
    fn new(text: String) -> Self {
        let first = Link {
            text,
            made: 0,
            used: None,
        };
        Self {
            now: 0,
            line: vec![first],
            is_ended: false,
        }
    }

    fn is_live(&self) -> bool {
        !self.is_ended && self.now < ABSOLUTE
    }

    fn present(&mut self, index: usize) -> Expected {
        if !self.is_live() {
            return Expected::Refused;
        }
        let newest = self.line.len() - 1;
        let link = &self.line[index];
        match link.used {
            None if self.now - link.made < IDLE => Expected::New,
            None => Expected::Refused,
            Some(used) if index + 1 == newest && self.now - used < LEEWAY => {
                Expected::Again(self.line[newest].text.clone())
            }
            Some(_) => {
                self.is_ended = true;
                Expected::Refused
            }
        }
    }
}

fn altered(text: &str) -> String {
    let last = if text.ends_with('A') { 'E' } else { 'A' };
    format!("{}{last}", &text[..text.len() - 1])
}

async fn n_unused(desk: &Desk, session: SessionId) -> i64 {
    let mut tx = desk.db.control().await.unwrap();
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM control.refresh_tokens WHERE session_id = $1 AND used_at IS NULL"#,
        session.uuid(),
    )
    .fetch_one(tx.conn())
    .await
    .unwrap()
}

async fn play(desk: &mut Desk, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let pair = desk.sign_in("ada@example.com").await;
    let mut model = Model::new(pair.refresh_token.clone());
    for step in 0..25 {
        let place = format!("seed {seed}, step {step}");
        let pause = *[0, 0, 0, 1, 3, LEEWAY - 1, LEEWAY, LEEWAY + 1, 300, IDLE - 1, IDLE]
            .choose(&mut rng)
            .unwrap();
        desk.clock.advance(TimeDelta::seconds(pause));
        model.now += pause;
        match rng.gen_range(0..20) {
            0 => desk.restart(),
            1 => {
                let forged = altered(&model.line.choose(&mut rng).unwrap().text);
                assert!(sessions::refresh(&desk.iam, &forged, None).await.is_err(), "{place}");
                continue;
            }
            _ => {}
        }
        let newest = model.line.len() - 1;
        let back = *[0, 0, 0, 0, 0, 0, 1, 1, 2, 3].choose(&mut rng).unwrap();
        let index = newest.saturating_sub(back);
        let expected = model.present(index);
        let answer = sessions::refresh(&desk.iam, &model.line[index].text, None).await;
        check(desk, &mut model, index, &expected, answer, &place).await;
        assert!(n_unused(desk, pair.session).await <= 1, "{place}: two lines live");
        assert_eq!(is_live(desk, &pair).await, model.is_live(), "{place}");
    }
}

/// Compares the answer with the promise and lets the model go on.
async fn check(
    desk: &Desk,
    model: &mut Model,
    index: usize,
    expected: &Expected,
    answer: Result<TokenPair, SessionError>,
    place: &str,
) {
    match (expected, answer) {
        (Expected::Refused, Err(SessionError::RefreshTokenInvalid)) => {}
        (Expected::Again(text), Ok(pair)) => assert_eq!(*text, pair.refresh_token, "{place}"),
        (Expected::New, Ok(pair)) => {
            assert!(model.line.iter().all(|link| link.text != pair.refresh_token), "{place}");
            desk.iam.tokens.verify(&pair.access_token).unwrap();
            model.line[index].used = Some(model.now);
            model.line.push(Link {
                text: pair.refresh_token,
                made: model.now,
                used: None,
            });
        }
        (expected, Ok(_)) => panic!("{place}: expected {expected:?}, got a pair"),
        (expected, Err(error)) => panic!("{place}: expected {expected:?}, got {error:?}"),
    }
}

/// Whether the session opens anything; its first access token may be long over, so its claims are made up.
async fn is_live(desk: &Desk, pair: &TokenPair) -> bool {
    let now = desk.clock.now();
    let claims = Claims {
        identity: pair.identity,
        session: pair.session,
        tenant: None,
        id: "test".into(),
        methods: Vec::new(),
        signed_in_at: now,
        issued_at: now,
        expires_at: now,
    };
    sessions::principal(&desk.iam, &claims).await.is_ok()
}

#[tokio::test]
async fn random_histories_keep_the_promise() {
    let mut desk = desk(LEEWAY).await;
    desk.register("ada@example.com").await;
    for seed in 0..30 {
        play(&mut desk, seed).await;
    }
}

/// Presents the token many times at once: all wait for the session until as many as can do.
async fn present_at_once(desk: &Desk, pair: &TokenPair, n_times: usize) -> Vec<Result<TokenPair, SessionError>> {
    let mut holder = desk.test.connect("postgres").await;
    let session = pair.session.uuid();
    let hold = format!("BEGIN; SELECT FROM control.sessions WHERE id = '{session}' FOR UPDATE");
    crate::harness::run(&mut holder, &hold).await;
    let release = async {
        eventually("all wait", async || {
            (n_waiting(desk).await == N_CONNECTIONS).then_some(())
        })
        .await;
        crate::harness::run(&mut holder, "COMMIT").await;
    };
    let attempts = join_all((0..n_times).map(|_| sessions::refresh(&desk.iam, &pair.refresh_token, None)));
    let (answers, ()) = tokio::join!(attempts, release);
    answers
}

/// How many sessions of the test's database wait for a lock.
pub(super) async fn n_waiting(desk: &Desk) -> i64 {
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM pg_stat_activity
        WHERE datname = current_database()
          AND wait_event_type = 'Lock'
        "#
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn fifty_refreshes_of_one_token_at_once_give_one_successor() {
    let desk = desk(LEEWAY).await;
    desk.register("ada@example.com").await;
    let pair = desk.sign_in("ada@example.com").await;
    let answers = present_at_once(&desk, &pair, 50).await;
    let successors: HashSet<_> = answers
        .into_iter()
        .map(|answer| answer.ok().unwrap().refresh_token)
        .collect();
    assert_eq!(successors.len(), 1);
    assert_eq!(n_unused(&desk, pair.session).await, 1);
    let successor = successors.into_iter().next().unwrap();
    assert!(sessions::refresh(&desk.iam, &successor, None).await.is_ok());
}

#[tokio::test]
async fn without_leeway_the_second_of_many_at_once_ends_the_session() {
    let desk = desk(0).await;
    desk.register("ada@example.com").await;
    let pair = desk.sign_in("ada@example.com").await;
    let answers = present_at_once(&desk, &pair, 20).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(principal(&desk, &pair).await.is_err());
}

#[tokio::test]
async fn what_is_stored_cannot_be_presented() {
    let desk = desk(LEEWAY).await;
    desk.register("ada@example.com").await;
    let first = desk.sign_in("ada@example.com").await;
    let second = sessions::refresh(&desk.iam, &first.refresh_token, None)
        .await
        .ok()
        .unwrap();
    let mut connection = desk.test.connect("postgres").await;
    let rows = sqlx::query!(r#"SELECT id, nonce, secret_hash FROM control.refresh_tokens"#)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        for stored in [Some(row.secret_hash), row.nonce].into_iter().flatten() {
            let text = format!("rft_{}_{}", row.id.simple(), URL_SAFE_NO_PAD.encode(stored));
            let refused = sessions::refresh(&desk.iam, &text, None).await;
            assert!(matches!(refused, Err(SessionError::RefreshTokenInvalid)));
        }
    }
    assert!(
        sessions::refresh(&desk.iam, &second.refresh_token, None).await.is_ok(),
        "guessing ends no session"
    );
}
