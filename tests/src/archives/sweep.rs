//! What is kept, and for how long.

use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
    ids::{ExportId, ImportId},
};
use bulkhead_tenancy::Db;
use bulkhead_tenants::archives::{Archives, sweep};
use chrono::TimeDelta;

use super::{download, export, import};
use crate::harness::{App, run};

fn parts(app: &App) -> (Db, Archives) {
    let config =
        Config::load_for(ConfigSource::from_env(app.env.clone()), &[]).unwrap_or_else(|wrong| panic!("{wrong}"));
    (app.db.db(&[]), Archives::new(&config.archives))
}

fn files(app: &App) -> Vec<String> {
    let files = std::fs::read_dir(&app.archives).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn archives_go_when_their_time_is_over_and_strangers_files_stay() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let path = export(&ada.client, ada.tenant).await;
    let id = path.rsplit('/').next().unwrap();
    let (db, archives) = parts(&app);
    let clock = Clock::manual(Clock::system().now());
    let upload = ImportId::new();
    let lost = format!("{}.0123.part", ExportId::new());
    for name in ["README", lost.as_str(), &format!("{upload}.tar")] {
        std::fs::write(app.archives.join(name), "x").unwrap();
    }
    sweep::once(&db, &archives, &clock).await.unwrap();
    let mut kept = vec!["README".to_owned(), format!("{id}.tar"), format!("{upload}.tar")];
    kept.sort();
    assert_eq!(files(&app), kept, "a young upload may be about to be imported");
    clock.advance(TimeDelta::days(7) - TimeDelta::minutes(1));
    sweep::once(&db, &archives, &clock).await.unwrap();
    ada.client.get(&format!("{path}/download")).await;
    assert_eq!(ada.client.get(&path).await.expect(200)["status"], "ready");
    clock.advance(TimeDelta::minutes(2));
    sweep::once(&db, &archives, &clock).await.unwrap();
    ada.client.get(&path).await.expect_problem(404, "not_found");
    assert!(!files(&app).contains(&format!("{id}.tar")));
}

#[tokio::test]
async fn an_import_whose_job_is_dead_ends_and_frees_its_slug() {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    app.worker.take().unwrap().kill().await;
    let accepted = import(&operator, "slug=bolt", archive.clone()).await.expect(202);
    let dead = "UPDATE control.jobs SET state = 'dead', finished_at = now() WHERE kind = 'tenants.import'";
    run(&mut app.db.connect("postgres").await, dead).await;
    let (db, archives) = parts(&app);
    sweep::once(&db, &archives, &Clock::system()).await.unwrap();
    let import_path = format!("/api/v1/tenants/imports/{}", accepted["import_id"].as_str().unwrap());
    assert_eq!(operator.get(&import_path).await.expect(200)["status"], "failed");
    assert_eq!(files(&app).len(), 1, "its upload is gone");
    import(&operator, "slug=bolt", archive).await.expect(202);
}
