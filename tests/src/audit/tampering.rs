//! Somebody with all rights in the database changes the log: the first bad row is named.

use bulkhead_audit::chain::Reason;

use super::Lab;

async fn nine_sealed() -> Lab {
    let lab = Lab::new().await;
    lab.record(5).await;
    lab.seal().await;
    lab.record(4).await;
    lab.seal().await;
    let whole = lab.verify().await;
    assert_eq!(
        (whole.first_seq, whole.last_seq, whole.n_rows, whole.flaw),
        (Some(1), 9, 9, None)
    );
    assert_eq!(whole.checkpoint.unwrap().end.seq, 9);
    lab
}

#[tokio::test]
async fn the_tenants_own_role_can_neither_change_nor_remove_nor_seal_a_row() {
    let lab = nine_sealed().await;
    for sql in [
        "UPDATE audit_events SET actor_id = 'nobody'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER USER",
        "DELETE FROM control.audit_heads",
        "DELETE FROM control.audit_outbox",
    ] {
        let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
        let refused = sqlx::raw_sql(sql).execute(tx.conn()).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{sql}");
    }
    // What it writes is sealed by the worker, whatever it says about its place.
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    let forged = "INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, \
                  request_id, seq, prev_hash, hash) \
                  VALUES (gen_random_uuid(), now(), 'a.b', 'done', 'system', '', '[]', '{}', 'r', 99, 'x', 'y')";
    sqlx::raw_sql(forged).execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(lab.places().await.1, 1);
    lab.record(1).await;
    lab.seal().await;
    super::assert_gap_free(&lab.places().await.0, 11);
    assert_eq!(lab.flaw().await, None);
}

#[tokio::test]
async fn every_edit_of_a_row_is_named() {
    let lab = nine_sealed().await;
    for edit in [
        "actor_id = 'usr_other'",
        "actor_kind = 'operator'",
        "action = 'thing.break'",
        "outcome = 'refused'",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "targets = '[]'",
        "changes = '{}'",
        "request_id = 'another'",
        "address = NULL",
        "address = '192.0.2.8'",
        "agent = ''",
        "agent = 'others'",
        "id = gen_random_uuid()",
    ] {
        lab.tamper(
            "CREATE TABLE saved AS SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, \
                    request_id, address, agent, seq, prev_hash, hash FROM audit_events",
        )
        .await;
        lab.tamper(&format!("UPDATE audit_events SET {edit} WHERE seq = 4"))
            .await;
        assert_eq!(lab.flaw().await, Some((4, Reason::Altered)), "{edit}");
        lab.tamper(
            "DELETE FROM audit_events; INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, \
             targets, changes, request_id, address, agent, seq, prev_hash, hash) SELECT id, occurred_at, action, outcome, \
             actor_kind, actor_id, targets, changes, request_id, address, agent, seq, prev_hash, hash FROM saved; \
             DROP TABLE saved",
        )
        .await;
        assert_eq!(lab.flaw().await, None);
    }
}

#[tokio::test]
async fn a_deleted_row_is_named() {
    let lab = nine_sealed().await;
    lab.tamper("DELETE FROM audit_events WHERE seq = 4").await;
    assert_eq!(lab.flaw().await, Some((4, Reason::Missing)));
    // Closing the gap does not help.
    lab.tamper(
        "UPDATE audit_events SET seq = -seq WHERE seq > 4; UPDATE audit_events SET seq = -seq - 1 WHERE seq < 0",
    )
    .await;
    assert_eq!(lab.flaw().await, Some((4, Reason::Altered)));
}

#[tokio::test]
async fn rows_that_change_places_are_named() {
    let lab = nine_sealed().await;
    lab.tamper(
        "UPDATE audit_events SET seq = -1 WHERE seq = 4; UPDATE audit_events SET seq = 4 WHERE seq = 6; \
         UPDATE audit_events SET seq = 6 WHERE seq = -1",
    )
    .await;
    assert_eq!(lab.flaw().await, Some((4, Reason::Altered)));
}

#[tokio::test]
async fn an_inserted_row_is_named() {
    let insert = |place: &str| {
        format!(
            "INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id, \
             seq, prev_hash, hash) SELECT gen_random_uuid(), occurred_at, action, outcome, actor_kind, actor_id, targets, \
             changes, request_id, {place}, prev_hash, hash FROM audit_events WHERE seq = 4"
        )
    };
    let lab = nine_sealed().await;
    lab.tamper("UPDATE audit_events SET seq = -seq WHERE seq > 4; UPDATE audit_events SET seq = 1 - seq WHERE seq < 0")
        .await;
    lab.tamper(&insert("5")).await;
    assert_eq!(lab.flaw().await, Some((5, Reason::Altered)));

    let lab = nine_sealed().await;
    lab.tamper(&insert("10")).await;
    assert_eq!(lab.flaw().await, Some((10, Reason::Altered)));
}

/// They are sealed by the rules, but neither the end of the chain nor a checkpoint knows of them.
#[tokio::test]
async fn rows_added_behind_the_end_are_named() {
    let lab = nine_sealed().await;
    lab.record(2).await;
    lab.keeper_seals_only().await;
    assert_eq!(lab.flaw().await, None);
    lab.tamper("UPDATE control.audit_heads SET seq = 9, hash = (SELECT hash FROM audit_events WHERE seq = 9)")
        .await;
    assert_eq!(lab.flaw().await, Some((10, Reason::Added)));
}

#[tokio::test]
async fn a_tail_that_is_cut_off_is_named_also_when_the_database_agrees_with_itself() {
    let lab = nine_sealed().await;
    lab.tamper("DELETE FROM audit_events WHERE seq > 6").await;
    assert_eq!(lab.flaw().await, Some((7, Reason::TailCut)));
    // Now nothing in the database says that there was more.
    lab.tamper(
        "UPDATE control.audit_heads SET seq = 6, checkpoint_seq = 6, hash = (SELECT hash FROM audit_events WHERE seq = 6)",
    )
    .await;
    assert_eq!(lab.flaw().await, Some((7, Reason::TailCut)));
    // Nor does it help to go on from there.
    lab.record(5).await;
    lab.keeper_seals_only().await;
    assert_eq!(lab.flaw().await, Some((6, Reason::Rewritten)));
    lab.tamper("DELETE FROM audit_events").await;
    assert_eq!(lab.flaw().await, Some((1, Reason::TailCut)));
}

#[tokio::test]
async fn rows_cut_off_at_the_front_are_named() {
    let lab = nine_sealed().await;
    lab.tamper("DELETE FROM audit_events WHERE seq < 3").await;
    assert_eq!(lab.flaw().await, Some((1, Reason::FrontCut)));
    lab.tamper(
        "UPDATE control.audit_heads SET base_seq = 2, base_hash = (SELECT prev_hash FROM audit_events WHERE seq = 3)",
    )
    .await;
    assert_eq!(lab.flaw().await, Some((1, Reason::FrontCut)));
}

#[tokio::test]
async fn a_log_that_is_computed_anew_differs_from_the_checkpoints() {
    let lab = nine_sealed().await;
    // Everything from the fourth row on is sealed once more, by the rules, after an edit.
    lab.tamper(
        "UPDATE audit_events SET actor_id = 'usr_other' WHERE seq = 4; \
         UPDATE control.audit_heads SET seq = 3, hash = (SELECT hash FROM audit_events WHERE seq = 3); \
         UPDATE audit_events SET seq = NULL, prev_hash = NULL, hash = NULL WHERE seq > 3; \
         INSERT INTO control.audit_outbox (id, tenant_id) SELECT gen_random_uuid(), tenant_id FROM control.audit_heads",
    )
    .await;
    lab.keeper_seals_only().await;
    super::assert_gap_free(&lab.places().await.0, 9);
    let (seq, reason) = lab.flaw().await.unwrap();
    assert_eq!(reason, Reason::Rewritten);
    assert!((1..=4).contains(&seq), "{seq}");
}

impl Lab {
    /// As a worker that was told not to write checkpoints.
    async fn keeper_seals_only(&self) {
        let stop = tokio_util::sync::CancellationToken::new();
        self.keeper.seal(&stop).await.unwrap();
    }
}
