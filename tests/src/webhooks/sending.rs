//! One attempt, and those that follow it.

use bulkhead_webhooks::{Attempt, Changes, State, service};
use serde_json::json;

use super::{Receiver, Reply, Scene, count, is_failed, names, status};
use crate::harness::{eventually, run};

#[tokio::test]
async fn a_message_arrives_in_the_form_of_the_standard() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([Reply::Raw("HTTP/1.1 201 X\r\nContent-Length: 5\r\n\r\nta\0ke".into())]);
    let (id, secret) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let message = receiver.wait_for(1).await.remove(0);
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert_eq!(message.line, "POST /hook HTTP/1.1");
    assert_eq!(message.id(), delivery.message.to_string());
    assert_eq!(
        message.headers["webhook-timestamp"],
        scene.clock.now().timestamp().to_string()
    );
    assert_eq!(message.headers["content-type"], "application/json");
    assert_eq!(message.signed_by(&secret), [0]);
    assert_eq!(message.n_signatures(), 1);
    let told = message.json();
    assert_eq!(
        (&told["type"], &told["timestamp"]),
        (&json!("vm.created"), &json!(scene.clock.now()))
    );
    assert_eq!(told["data"], delivery.data);
    assert_eq!(told["data"]["name"], "web-1");
    assert_eq!(told.as_object().unwrap().len(), 3);
    assert_eq!((delivery.state, delivery.n_attempts), (State::Succeeded, 1));
    let Attempt { number, result, .. } = &attempts[0];
    let answered = result.as_ref().unwrap();
    assert_eq!(
        (*number, answered.status, answered.body.as_str()),
        (1, 201, "ta\u{fffd}ke")
    );
}

#[tokio::test]
async fn failures_are_tried_again_over_three_days_under_one_id_and_then_given_up() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.always_say(Reply::Status(500, ""));
    let (id, secret) = scene.webhook(&receiver.url, &[]).await;
    let began = scene.clock.now();
    scene.emit("web-1").await;
    let mut waits = Vec::new();
    for n in 1..10 {
        let (delivery, _) = scene.attempted(id, n).await;
        assert_eq!(delivery.state, State::Pending);
        waits.push(scene.pass(id).await.num_seconds());
    }
    let (delivery, attempts) = scene.attempted(id, 10).await;
    assert!(is_failed(&delivery), "{delivery:?}");
    for (wait, secs) in waits
        .iter()
        .zip([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400])
    {
        assert!((secs..=secs * 11 / 10).contains(wait), "{wait} for {secs}");
    }
    assert!(attempts.iter().all(|attempt| status(attempt) == 500));
    scene.settled().await;
    let messages = receiver.messages();
    assert_eq!(messages.len(), 10);
    assert!(
        messages
            .iter()
            .all(|message| message.id() == messages[0].id() && message.body == messages[0].body)
    );
    // Each is signed for its own time.
    assert!(messages.iter().all(|message| message.signed_by(&secret) == [0]));
    assert_ne!(
        messages[0].headers["webhook-timestamp"],
        messages[9].headers["webhook-timestamp"]
    );
    let webhook = scene.get(id).await;
    assert!(
        webhook.is_enabled && webhook.failing_since == Some(began),
        "{webhook:?}"
    );
}

#[tokio::test]
async fn an_endpoint_that_answers_again_is_not_failing_any_more() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([
        Reply::Status(503, "Retry-After: 3600\r\n"),
        Reply::Status(429, "Retry-After: 1\r\n"),
    ]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    assert!(scene.get(id).await.failing_since.is_some());
    assert_eq!(scene.pass(id).await.num_seconds(), 3_600, "as it asked");
    scene.attempted(id, 2).await;
    assert!((300..=330).contains(&scene.pass(id).await.num_seconds()));
    let (delivery, attempts) = scene.attempted(id, 3).await;
    assert_eq!(delivery.state, State::Succeeded);
    assert_eq!(attempts.iter().map(status).collect::<Vec<_>>(), [503, 429, 204]);
    assert_eq!(scene.get(id).await.failing_since, None);
}

#[tokio::test]
async fn a_worker_that_dies_after_the_yes_sends_again_under_the_same_id() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([Reply::Hang]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    receiver.wait_for(1).await;
    // Its lease is somebody else's by the time the endpoint says yes.
    let mut admin = scene.test.connect("postgres").await;
    let lost =
        "UPDATE control.jobs SET state = 'queued', lease_token = NULL, lease_until = NULL WHERE state = 'running'";
    run(&mut admin, lost).await;
    receiver.let_go(1);
    let messages = receiver.wait_for(2).await;
    assert_eq!(messages[0].id(), messages[1].id());
    assert_eq!(messages[0].body, messages[1].body);
    scene.settled().await;
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert_eq!(
        (delivery.state, attempts.len()),
        (State::Succeeded, 1),
        "what the lost one did is not written down"
    );
}

#[tokio::test]
async fn a_job_that_comes_early_waits_for_its_time() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([Reply::Status(500, "")]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    // As after a worker that died before it put the job off: it runs again at once.
    scene.due().await;
    let mut admin = scene.test.connect("postgres").await;
    eventually("it is put off again", async || {
        let later = "SELECT count(*) FROM control.jobs WHERE state = 'queued' AND run_at > now() + interval '1 second'";
        (count(&mut admin, later).await == 1).then_some(())
    })
    .await;
    assert_eq!(receiver.messages().len(), 1);
    scene.pass(id).await;
    assert_eq!(scene.attempted(id, 2).await.0.state, State::Succeeded);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let scene = Scene::new().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let says = format!(
        "HTTP/1.1 307 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url
    );
    receiver.say([Reply::Raw(says)]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert_eq!((delivery.state, status(&attempts[0])), (State::Pending, 307));
    assert!(elsewhere.messages().is_empty());
}

#[tokio::test]
async fn a_huge_answer_is_cut_and_a_silent_endpoint_left() {
    let scene = Scene::with(&[("WEBHOOKS__TIMEOUT_SECS", "1")]).await;
    let receiver = Receiver::start().await;
    let huge = format!(
        "HTTP/1.1 200 X\r\nContent-Length: 10000000\r\n\r\n{}",
        "\u{e9}".repeat(100_000)
    );
    receiver.say([Reply::Raw(huge)]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert_eq!(delivery.state, State::Succeeded);
    assert_eq!(attempts[0].result.as_ref().unwrap().body, "\u{e9}".repeat(512));
    receiver.say([Reply::Hang, Reply::Raw("nonsense\r\n\r\n".into())]);
    scene.emit("web-2").await;
    let pending = eventually("the attempt is written down", async || {
        let pending = scene.deliveries(id).await.into_iter();
        pending
            .into_iter()
            .find(|delivery| delivery.state == State::Pending && delivery.n_attempts == 1)
    })
    .await;
    scene.pass(id).await;
    let attempts = eventually("it was tried again", async || {
        let (_, attempts) = scene.delivery(id, pending.message).await;
        (attempts.len() == 2).then_some(attempts)
    })
    .await;
    let words: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.result.as_ref().unwrap_err().as_str())
        .collect();
    assert_eq!(words, ["timed_out", "no_http_answer"]);
}

#[tokio::test]
async fn where_nobody_may_call_nobody_is_called_and_nothing_is_told_of_it() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook("http://127.0.0.1:1/", &[]).await;
    scene.emit("refused").await;
    let (_, attempts) = scene.attempted(id, 1).await;
    assert_eq!(
        attempts[0].result,
        Err("unreachable".to_owned()),
        "nobody listens there"
    );
    // As if it had been written while that was allowed.
    let moved = format!(
        "UPDATE webhooks SET url = '{}'",
        receiver.url.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    );
    run(&mut scene.rows().await, &moved).await;
    scene.pass(id).await;
    let (_, attempts) = scene.attempted(id, 2).await;
    assert_eq!(attempts[1].result, Err("unreachable".to_owned()), "the same word");
    assert!(receiver.messages().is_empty());
}

#[tokio::test]
async fn a_slow_endpoint_holds_nobody_up() {
    let scene = Scene::new().await;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.always_say(Reply::Hang);
    let (waiting, _) = scene.webhook(&slow.url, &[]).await;
    for n in 0..6 {
        scene.emit(&format!("slow-{n}")).await;
    }
    slow.wait_for(2).await;
    scene.webhook(&fast.url, &[]).await;
    for n in 0..4 {
        scene.emit(&format!("fast-{n}")).await;
    }
    fast.wait_for(4).await;
    assert_eq!(slow.messages().len(), 2, "of four places it has two");
    slow.let_go(100);
    eventually("it gets the rest", async || {
        scene.due().await;
        let left = scene.deliveries(waiting).await.into_iter();
        (left.filter(|delivery| delivery.state == State::Pending).count() == 0).then_some(())
    })
    .await;
    assert_eq!(slow.messages().len(), 10);
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, old) = scene.webhook(&receiver.url, &[]).await;
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let rotated = service::rotate(&scene.scope, &mut tx, &scene.webhooks, id, 3_600, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let new = rotated.secret.expose().to_owned();
    assert_ne!(new, old);
    scene.emit("both").await;
    let message = receiver.wait_for(1).await.remove(0);
    assert_eq!((message.signed_by(&new), message.signed_by(&old)), (vec![0], vec![1]));
    scene.settled().await;
    scene.clock.advance(chrono::TimeDelta::seconds(3_600));
    scene.emit("one").await;
    let message = receiver.wait_for(2).await.remove(1);
    assert_eq!((message.signed_by(&new), message.n_signatures()), (vec![0], 1));
    // Without an overlap the old one ends at once.
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let rotated = service::rotate(&scene.scope, &mut tx, &scene.webhooks, id, 0, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    scene.settled().await;
    scene.emit("other").await;
    let message = receiver.wait_for(3).await.remove(2);
    assert_eq!(
        (message.signed_by(rotated.secret.expose()), message.n_signatures()),
        (vec![0], 1)
    );
}

#[tokio::test]
async fn a_secret_is_kept_wrapped_and_opens_in_its_own_row_alone() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, secret) = scene.webhook(&receiver.url, &[]).await;
    scene
        .create(&receiver.url, &["role.created"], Some("key-1"))
        .await
        .unwrap();
    let (other, _) = scene.webhook(&receiver.url, &["role.created"]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    let bare = secret.strip_prefix("whsec_").unwrap();
    let mut rows = scene.rows().await;
    let everything: Vec<String> = sqlx::query_scalar(
        "SELECT row_to_json(t)::text FROM webhooks AS t UNION ALL SELECT row_to_json(t)::text FROM webhook_attempts AS t \
         UNION ALL SELECT row_to_json(t)::text FROM idempotency_keys AS t \
         UNION ALL SELECT row_to_json(t)::text FROM audit_events AS t UNION ALL SELECT row_to_json(t)::text FROM control.jobs AS t",
    )
    .fetch_all(&mut rows)
    .await
    .unwrap();
    assert!(everything.len() > 6);
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bare).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for row in &everything {
        assert!(
            !row.contains(bare) && !row.contains(&hex) && !row.contains("whsec_"),
            "{row}"
        );
    }
    let swap = format!(
        "UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE id = '{}') WHERE id = '{}'",
        other.uuid(),
        id.uuid()
    );
    run(&mut rows, &swap).await;
    scene.emit("swapped").await;
    let mut admin = scene.test.connect("postgres").await;
    let error: String = eventually("the attempt was not made", async || {
        let error = "SELECT last_error FROM control.jobs WHERE kind = 'webhooks.deliver' AND last_error IS NOT NULL";
        sqlx::query_scalar(error).fetch_optional(&mut admin).await.unwrap()
    })
    .await;
    assert!(error.contains("secret"), "{error}");
    assert_eq!(receiver.messages().len(), 1);
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_goes() {
    let scene = Scene::with(&[("WEBHOOKS__KEEP_DAYS", "4")]).await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    for n in 0..3 {
        scene.emit(&format!("old-{n}")).await;
    }
    scene.settled().await;
    scene
        .clock
        .advance(chrono::TimeDelta::days(4) + chrono::TimeDelta::seconds(1));
    scene.emit("new").await;
    scene.settled().await;
    let left = scene.deliveries(id).await;
    assert_eq!(left.len(), 1);
    let rest = "SELECT (SELECT count(*) FROM webhook_messages) + (SELECT count(*) FROM webhook_attempts)";
    assert_eq!(count(&mut scene.rows().await, rest).await, 2);
    assert_eq!(names(&receiver.messages()).len(), 4);
}

#[tokio::test]
async fn what_waits_goes_to_the_new_address() {
    let scene = Scene::new().await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    old.always_say(Reply::Status(404, ""));
    let (id, _) = scene.webhook(&old.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    let changes = Changes {
        url: Some(new.url.clone()),
        ..Changes::default()
    };
    scene.update(id, changes).await;
    scene.pass(id).await;
    let message = new.wait_for(1).await.remove(0);
    assert_eq!(message.id(), old.messages()[0].id());
}
