//! The mail of an invitation, as it arrives.

use super::{Scene, decoded, resend, secret};
use crate::harness::{App, Options, Relay, eventually, run};

#[tokio::test]
async fn the_mail_has_a_text_and_a_page_with_the_same_link_and_no_text_that_anyone_chose() {
    let scene = Scene::new().await;
    run(
        &mut scene.app.db.connect("postgres").await,
        "UPDATE control.tenants SET name = 'Win at http://evil.example'",
    )
    .await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let mails = scene.relay.mails(0).await;
    let mail = mails.iter().find(|mail| mail.to == "bob@example.com").unwrap();
    assert_eq!(mail.header("Subject"), "You are invited to acme");
    assert!(mail.header("Content-Type").starts_with("multipart/alternative"));
    let link = format!("https://app.example.com/accept-invitation#token={token}");
    let whole = decoded(mail);
    let (text, page) = whole.split_once("text/html").unwrap();
    assert!(text.contains(&format!("\n\n{link}\n")), "{text}");
    assert!(page.contains(&format!("<a href=\"{link}\">")), "{page}");
    assert!(!mail.text.contains("evil"), "{}", mail.text);
}

#[tokio::test]
async fn a_mail_that_goes_out_twice_carries_two_links_and_the_first_works() {
    let scene = Scene::new().await;
    let (_, first) = scene.invited("bob@example.com", "member").await;
    // The worker died between the relay's yes and the end of the job.
    let again = "UPDATE control.jobs SET state = 'queued', finished_at = NULL, run_at = now() \
                 WHERE kind = 'invitations.send' AND state = 'done'";
    eventually("the job is done", async || {
        let done = scene
            .count("SELECT count(*) FROM control.jobs WHERE kind = 'invitations.send' AND state = 'done'")
            .await;
        (done == 1).then_some(())
    })
    .await;
    scene.run(again).await;
    let second = scene.token("bob@example.com", 1).await;
    assert_ne!(first, second);
    let mails = scene.relay.mails(0).await;
    let ids: Vec<_> = mails
        .iter()
        .filter(|mail| mail.to == "bob@example.com")
        .map(|mail| mail.header("Message-ID").to_owned())
        .collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    scene.lookup(&second).await.expect(200);
    scene.accept_new(&first).await.expect(200);
    scene.accept_new(&second).await.expect_problem(410, "invitation_used");
}

#[tokio::test]
async fn neither_address_nor_secret_are_in_the_queue_the_logs_or_the_rows() {
    let scene = Scene::new().await;
    let (path, old) = scene.invited("bob@example.com", "member").await;
    resend(&scene.ada.client, &path).await.expect(200);
    let token = scene.token("bob@example.com", 1).await;
    scene.lookup(&old).await.expect_problem(404, "invitation_invalid");
    scene.accept_new(&token).await.expect(200);
    let secrets = [&old, &token].map(|token| secret(token));
    let mut connection = scene.app.db.look_into(scene.ada.tenant).await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT row_to_json(j)::text FROM control.jobs AS j UNION ALL SELECT row_to_json(e)::text FROM audit_events AS e",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(rows.iter().any(|row| row.contains("invitations.send")));
    let logs = [scene.app.api.log(), scene.app.worker.as_ref().unwrap().log()].concat();
    for trace in rows.iter().chain(&logs) {
        assert!(!trace.contains("bob@"), "{trace}");
        assert!(secrets.iter().all(|secret| !trace.contains(secret)), "{trace}");
    }
    let kept: Vec<String> = sqlx::query_scalar("SELECT row_to_json(i)::text FROM invitations AS i")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(secrets.iter().all(|secret| !kept[0].contains(secret)), "{kept:?}");
}

#[tokio::test]
async fn what_was_revoked_or_resent_before_its_mail_left_is_not_mailed() {
    let relay = Relay::start().await;
    let app = App::with(Options {
        settings: relay.settings(),
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    let mut scene = Scene { relay, app, ada };
    assert!(scene.app.worker.take().unwrap().stop().await);
    let revoked = scene.invite("carl@example.com", "viewer").await;
    let path = |invitation: &serde_json::Value| format!("/api/v1/invitations/{}", super::text(invitation, "id"));
    scene.ada.client.delete(&path(&revoked)).await.expect(204);
    let resent = scene.invite("bob@example.com", "viewer").await;
    resend(&scene.ada.client, &path(&resent)).await.expect(200);
    let _worker = scene.app.start_worker().await;
    eventually("all jobs are done", async || {
        let left = "SELECT count(*) FROM control.jobs WHERE kind = 'invitations.send' AND state <> 'done'";
        (scene.count(left).await == 0).then_some(())
    })
    .await;
    let mails = scene.relay.mails(0).await;
    let invited: Vec<_> = mails
        .iter()
        .filter(|mail| mail.text.contains("accept-invitation"))
        .collect();
    assert_eq!(invited.len(), 1, "{invited:?}");
    assert_eq!(invited[0].to, "bob@example.com");
}
