//! Conversations with a relay of our own on the loopback.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bulkhead_jobs::Outcome;
use bulkhead_kernel::{
    config::{MailDriver, MailLinks},
    secret::Secret,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{Mailer, letter::tests::letter};

/// More than any of these conversations takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers as told, else politely, and writes down what it hears.
struct Relay {
    port: u16,
    /// Of its mailers.
    timeout: Duration,
    heard: Arc<Mutex<Vec<String>>>,
    serving: JoinSet<()>,
}

/// What is said to a verb; `None` is silence.
type Script = BTreeMap<&'static str, Option<&'static str>>;

impl Relay {
    async fn start(script: impl IntoIterator<Item = (&'static str, Option<&'static str>)>) -> Self {
        let script: Script = script.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::default();
        let mut serving = JoinSet::new();
        let notes = Arc::clone(&heard);
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                converse(stream, &script, &notes).await;
            }
        });
        let timeout = PATIENCE / 2;
        Self {
            port,
            timeout,
            heard,
            serving,
        }
    }

    fn mailer(&self, security: SmtpSecurity, credentials: Option<(&str, &str)>) -> Mailer {
        let server = SmtpServer {
            host: "127.0.0.1".into(),
            port: self.port,
            security,
            credentials: credentials.map(|(user, password)| (user.into(), Secret::new(password))),
        };
        let settings = Mail {
            driver: MailDriver::Smtp(server),
            from: "Bulkhead <no-reply@example.com>".parse().unwrap(),
            timeout: self.timeout,
            links: MailLinks {
                base: "https://app.example.com".into(),
                verify: PATIENCE,
                reset: PATIENCE,
            },
        };
        Mailer::new(&settings).unwrap()
    }

    async fn outcome(&self) -> Outcome {
        self.outcome_with(SmtpSecurity::Plain, None).await
    }

    async fn outcome_with(&self, security: SmtpSecurity, credentials: Option<(&str, &str)>) -> Outcome {
        let (mailer, letter) = (self.mailer(security, credentials), letter("Acme"));
        let sent = timeout(PATIENCE, mailer.send(&letter))
            .await
            .expect("it ends by itself");
        sent.map_or_else(Outcome::from, |()| Outcome::Done)
    }

    /// The lines heard, with the mail itself as one of them.
    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn converse(stream: TcpStream, script: &Script, heard: &Mutex<Vec<String>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    reply(&mut stream, script, "banner", "220 relay").await?;
    while let Some(line) = read_line(&mut stream).await {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        heard.lock().unwrap().push(line);
        match verb.as_str() {
            "EHLO" => {
                reply(
                    &mut stream,
                    script,
                    "EHLO",
                    "250-relay\r\n250-AUTH PLAIN\r\n250 8BITMIME",
                )
                .await?;
            }
            "AUTH" => reply(&mut stream, script, "AUTH", "235 welcome").await?,
            "MAIL" => reply(&mut stream, script, "MAIL", "250 yes").await?,
            "RCPT" => reply(&mut stream, script, "RCPT", "250 yes").await?,
            "DATA" if script.contains_key("DATA") => reply(&mut stream, script, "DATA", "").await?,
            "DATA" => {
                reply(&mut stream, script, "DATA", "354 go on").await?;
                let mut mail = String::new();
                loop {
                    let line = read_line(&mut stream).await?;
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push('\n');
                }
                heard.lock().unwrap().push(mail);
                reply(&mut stream, script, ".", "250 queued").await?;
            }
            "QUIT" => reply(&mut stream, script, "QUIT", "221 bye").await?,
            _ => return None,
        }
    }
    Some(())
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok().filter(|n| *n > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn reply(stream: &mut BufReader<TcpStream>, script: &Script, verb: &str, usual: &'static str) -> Option<()> {
    let answer = script.get(verb).copied().unwrap_or(Some(usual));
    match answer {
        Some(answer) => stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok(),
        None => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_mail_is_handed_over() {
    let relay = Relay::start([]).await;
    assert_eq!(relay.outcome().await, Outcome::Done);
    let heard = relay.heard();
    assert_eq!(
        heard[..4],
        [
            "EHLO example.com",
            "MAIL FROM:<no-reply@example.com>",
            "RCPT TO:<ada@example.org>",
            "DATA"
        ]
    );
    assert!(heard[4].contains("\nSubject: Acme is ready\n"), "{}", heard[4]);
    assert!(heard[4].contains("\n\nHello Ada,\n"), "{}", heard[4]);
}

#[tokio::test]
async fn a_line_of_one_dot_does_not_end_the_mail() {
    let relay = Relay::start([]).await;
    let mut letter = letter("Acme");
    letter.text.body = "one\n.\nMAIL FROM:<eve@example.com>\n".into();
    relay.mailer(SmtpSecurity::Plain, None).send(&letter).await.unwrap();
    let heard = relay.heard();
    assert_eq!(
        heard.iter().filter(|line| line.starts_with("MAIL")).count(),
        1,
        "{heard:?}"
    );
    assert!(
        heard[4].contains("one\n..\nMAIL FROM:<eve@example.com>"),
        "{}",
        heard[4]
    );
}

#[tokio::test]
async fn a_no_for_good_is_discarded_without_the_relays_words() {
    for verb in ["MAIL", "RCPT", "DATA", "."] {
        let relay = Relay::start([(verb, Some("550 5.1.1 <ada@example.org> unknown"))]).await;
        let expected = Outcome::Discard("the relay refuses the mail for good with 550".into());
        assert_eq!(relay.outcome().await, expected, "{verb}");
    }
}

#[tokio::test]
async fn a_no_for_now_is_retried_without_the_relays_words() {
    let cases = [
        ("banner", "421 closing for ada@example.org"),
        ("banner", "554 no service for ada@example.org"),
        ("RCPT", "450 ada@example.org is greylisted"),
        (".", "452 no room for ada@example.org"),
        ("MAIL", "530 sign in first, ada@example.org"),
        ("RCPT", "nonsense about ada@example.org"),
    ];
    for (verb, answer) in cases {
        let relay = Relay::start([(verb, Some(answer))]).await;
        let outcome = relay.outcome().await;
        assert!(
            matches!(&outcome, Outcome::Retry(why) if !why.contains("ada")),
            "{answer}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_costs_no_mail() {
    let relay = Relay::start([("AUTH", Some("535 wrong"))]).await;
    let outcome = relay
        .outcome_with(SmtpSecurity::Plain, Some(("bulkhead", "word")))
        .await;
    assert_eq!(
        outcome,
        Outcome::Retry("the relay does not take the mail now: it answers 535".into())
    );
    assert!(relay.heard().iter().all(|line| !line.starts_with("MAIL")));
    let relay = Relay::start([]).await;
    let outcome = relay
        .outcome_with(SmtpSecurity::Plain, Some(("bulkhead", "word")))
        .await;
    assert_eq!(outcome, Outcome::Done);
    assert!(relay.heard()[1].starts_with("AUTH PLAIN "), "{:?}", relay.heard());
}

#[tokio::test]
async fn nobody_listening_is_retried() {
    let mut relay = Relay::start([]).await;
    relay.serving.shutdown().await;
    assert!(matches!(relay.outcome().await, Outcome::Retry(_)));
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    for verb in ["banner", "RCPT", "."] {
        let mut relay = Relay::start([(verb, None)]).await;
        relay.timeout = Duration::from_millis(500);
        let outcome = relay.outcome().await;
        assert_eq!(
            outcome,
            Outcome::Retry("the relay does not take the mail now: no end after 0.5 s".into()),
            "{verb}"
        );
    }
}

#[tokio::test]
async fn a_goodbye_does_not_matter() {
    for answer in [None, Some("500 what")] {
        let relay = Relay::start([("QUIT", answer)]).await;
        assert_eq!(relay.outcome().await, Outcome::Done);
    }
}

#[tokio::test]
async fn what_must_be_protected_is_not_said_in_clear() {
    let relay = Relay::start([]).await;
    let outcome = relay
        .outcome_with(SmtpSecurity::StartTls, Some(("bulkhead", "word")))
        .await;
    assert!(matches!(outcome, Outcome::Retry(_)), "{outcome:?}");
    let heard = relay.heard();
    assert!(
        heard
            .iter()
            .all(|line| line.starts_with("EHLO") || line.starts_with("QUIT")),
        "{heard:?}"
    );
    // A TLS hello is what the relay hears first, and its banner is no answer to it.
    let relay = Relay::start([]).await;
    let outcome = relay.outcome_with(SmtpSecurity::Tls, Some(("bulkhead", "word"))).await;
    assert!(matches!(outcome, Outcome::Retry(_)), "{outcome:?}");
    assert!(
        relay.heard().iter().all(|line| line.starts_with('\u{16}')),
        "{:?}",
        relay.heard()
    );
}
