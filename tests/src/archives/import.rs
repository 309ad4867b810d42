//! What an archive becomes, and which ones are refused.

use serde_json::json;

use super::{
    contents, delete_machine, download, export, failed, finished, forge::Forged, import, imported, machine, remove,
};
use crate::harness::{App, Client, Options, run};

#[tokio::test]
async fn an_export_that_is_purged_and_imported_is_equal_row_by_row() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let operator = app.operator().await;
    let gone = machine(&ada, "web-1").await;
    delete_machine(&ada, &gone).await;
    let odd = "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), E'tab\\tslash\\\\', E'two\\nlines\\r\\\\.\\\\N é 漢', false)";
    run(&mut app.db.look_into(ada.tenant).await, odd).await;
    let before = contents(&app, ada.tenant).await;
    assert!(
        before["vms"].0 == 1 && before["vm_events"].0 > 3 && before["vm_usage_segments"].0 > 0,
        "{before:?}"
    );

    // Others write meanwhile.
    let writing = async {
        for index in 0..8 {
            machine(&bob, &format!("busy-{index}")).await;
        }
    };
    let moving = async {
        let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
        remove(&app, ada.tenant).await;
        imported(&operator, "members=relink", archive).await
    };
    let ((), copy) = tokio::join!(writing, moving);
    assert_ne!(copy, ada.tenant);
    assert_eq!(contents(&app, copy).await, before);
    let again = app.enter(&ada.email, copy).await;
    assert_eq!(again.slug, "acme");
    assert_eq!(again.client.get("/api/v1/users").await.expect(200)["total"], 1);
    machine(&again, "web-2").await;
    assert_eq!(
        std::fs::read_dir(&app.archives).unwrap().count(),
        1,
        "the upload is gone, the export is not"
    );
}

#[tokio::test]
async fn a_clone_leaves_the_machines_to_the_original() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let path = machine(&ada, "web-1").await;
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    let copy = imported(&operator, "members=relink&slug=sandbox&name=Sandbox", archive).await;
    let inside = app.enter(&ada.email, copy).await;
    assert_eq!(inside.client.get("/api/v1/vms").await.expect(200)["total"], 0);
    inside.client.get(&path).await.expect_problem(404, "not_found");
    inside.client.delete(&path).await;
    let parted = sqlx::query!(
        r#"
        SELECT v.phase, v.provider, v.provider_ref, v.ip_address,
               (SELECT count(*) FROM vm_allocations)                              AS "allocations!",
               (SELECT count(*) FROM vm_usage_segments WHERE ended_at IS NULL)    AS "open!",
               (SELECT e.code FROM vm_events AS e ORDER BY e.seq DESC LIMIT 1)    AS "last!",
               (SELECT count(*) FROM control.vm_work WHERE tenant_id = $1)        AS "work!"
        FROM vms AS v
        "#,
        copy.uuid(),
    )
    .fetch_one(&mut app.db.look_into(copy).await)
    .await
    .unwrap();
    assert_eq!(
        (parted.phase.as_str(), parted.last.as_str()),
        ("DELETED", "vm.not_imported")
    );
    assert_eq!(
        (parted.provider, parted.provider_ref, parted.ip_address),
        (None, None, None)
    );
    assert_eq!((parted.allocations, parted.open, parted.work), (0, 0, 0));
    assert_eq!(ada.client.get(&path).await.expect(200)["status"], "RUNNING");
    delete_machine(&ada, &path).await;
}

#[tokio::test]
async fn an_archive_that_lies_here_is_imported_by_its_name_and_once_under_one_key() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let path = export(&ada.client, ada.tenant).await;
    let id = path.rsplit('/').next().unwrap();
    let keyed = operator.with_header("idempotency-key", "clone-1");
    let from = json!({ "export_id": id });
    let first = keyed.post("/api/v1/tenants/import", &from).await.expect(202);
    assert_ne!(first["slug"], "acme", "that one is taken");
    finished(&operator, &first).await;
    let second = keyed.post("/api/v1/tenants/import", &from).await.expect(202);
    assert_eq!(first, second);
    let other = keyed.post("/api/v1/tenants/import?name=Other", &from).await;
    other.expect_problem(422, "idempotency_key_reused");
    let unknown = json!({ "export_id": "exp_0190a1b2c3d4e5f60718293a4b5c6d7e" });
    operator
        .post("/api/v1/tenants/import", &unknown)
        .await
        .expect_problem(404, "not_found");
}

async fn assert_only(app: &App, n_tenants: i64) {
    let tenants = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM control.tenants) AS "rows!",
               (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 't\_%') AS "schemas!",
               (SELECT count(*) FROM control.onboarding_steps WHERE state <> 'done') AS "steps!"
        "#
    )
    .fetch_one(&mut app.db.connect("postgres").await)
    .await
    .unwrap();
    assert_eq!(
        (tenants.rows, tenants.schemas, tenants.steps),
        (n_tenants, n_tenants, 0)
    );
}

async fn exported(app: &App) -> (String, Client) {
    let ada = app.founder("acme").await;
    machine(&ada, "web-1").await;
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    (archive, app.operator().await)
}

#[tokio::test]
async fn what_is_no_whole_archive_is_refused_at_the_door() {
    let app = App::with(Options {
        settings: vec![("BULKHEAD__ARCHIVES__MAX_UPLOAD_BYTES", "1500000".into())],
        ..Options::default()
    })
    .await;
    let (archive, operator) = exported(&app).await;
    let bob = app.founder("bolt").await;
    import(&bob.client, "", "").await.expect_problem(403, "forbidden");
    for at in [600, archive.len() / 2, archive.len() - 2000] {
        let mut bad = archive.clone().into_bytes();
        bad[at] ^= 1;
        import(&operator, "", bad).await.expect_problem(422, "archive_invalid");
    }
    let cut = archive[..archive.len() - 1024].to_owned();
    let problem = import(&operator, "", cut).await.expect_problem(422, "archive_invalid");
    assert!(
        problem["detail"].as_str().unwrap().contains("ends too early"),
        "{problem}"
    );
    let mut newer = Forged::of(&archive);
    newer.manifest["schema_version"] = 99.into();
    import(&operator, "", newer.archive())
        .await
        .expect_problem(422, "archive_version_not_served");
    // More than any other route takes, and more than this one does.
    import(&operator, "", vec![0; 1_200_000])
        .await
        .expect_problem(422, "archive_invalid");
    import(&operator, "", vec![0; 1_500_001])
        .await
        .expect_problem(413, "archive_too_large");
    import(&operator, "slug=bolt", archive.clone())
        .await
        .expect_problem(409, "slug_taken");
    let wrong = import(&operator, "slug=No+Slug&members=all", archive.clone()).await;
    assert_eq!(
        wrong.expect_problem(422, "validation")["errors"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_only(&app, 2).await;
    assert_eq!(
        std::fs::read_dir(&app.archives).unwrap().count(),
        1,
        "no upload is left"
    );
    import(&operator, "", Forged::of(&archive).archive()).await.expect(202);
}

/// Imports an archive that is whole and wrong. Gives what its failure says.
async fn refused(app: &App, operator: &Client, forged: Forged) -> String {
    let accepted = import(operator, "slug=forged", forged.archive()).await.expect(202);
    let import = failed(operator, &accepted).await;
    assert_eq!(
        (&import["code"], &import["tenant_id"]),
        (&json!("archive_invalid"), &json!(null))
    );
    assert_only(app, 1).await;
    import["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_the_database_refuses_leaves_no_tenant() {
    let app = App::start().await;
    let (archive, operator) = exported(&app).await;
    let forged = || Forged::of(&archive);
    let mut unknown = forged();
    unknown.part("roles")["columns"][0] = r#"id") FROM STDIN; DROP SCHEMA control CASCADE; --"#.into();
    assert!(refused(&app, &operator, unknown).await.contains("columns of \"roles\""));
    let mut table = forged();
    table.part("roles")["table"] = "members; DROP TABLE vms".into();
    table
        .files
        .iter_mut()
        .find(|(name, _)| name == "tables/roles.copy")
        .unwrap()
        .0 = "tables/members; DROP TABLE vms.copy".into();
    assert!(refused(&app, &operator, table).await.contains("there is no table"));
    let mut missing = forged();
    missing.files.retain(|(name, _)| name != "tables/idempotency_keys.copy");
    missing.manifest["tables"]
        .as_array_mut()
        .unwrap()
        .retain(|part| part["table"] != "idempotency_keys");
    assert!(refused(&app, &operator, missing).await.contains("idempotency_keys"));
    let mut broken = forged();
    broken.table("roles").extend(b"not a role\n");
    assert!(
        refused(&app, &operator, broken)
            .await
            .contains("refuses tables/roles.copy")
    );
    let mut orphan = forged();
    orphan.table("member_roles").clear();
    orphan.table("members").clear();
    let stranger = b"00000000-0000-7000-8000-000000000000\t00000000-0000-7000-8000-000000000000\t2026-01-01\t\\N\n";
    orphan.table("member_roles").extend(stranger);
    assert!(
        refused(&app, &operator, orphan)
            .await
            .contains("member_roles_member_fkey")
    );
    // The mark of the end, as COPY text knows it: what follows would be ignored.
    let mut ended = forged();
    let rows = ended.table("roles");
    *rows = [b"\\.\n", &rows[..]].concat();
    refused(&app, &operator, ended).await;
}
