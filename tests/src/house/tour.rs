//! The tour in the README is what the product really answers. `BLESS=1` writes it anew.

use std::fs;

use tokio::process::Command;

use super::{read, root};
use crate::harness::App;

const BEGIN: &str = "<!-- tour -->\n```console\n";
const END: &str = "```\n<!-- /tour -->";

#[tokio::test]
async fn the_tour_in_the_readme_is_true() {
    let app = App::start().await;
    let mails = std::env::temp_dir().join(format!("bulkhead-mails-{}", app.db.name()));
    app.worker.as_ref().unwrap().copy_log(&mails);
    let output = Command::new(root().join("scripts/demo"))
        .arg("--normalise")
        .env("BULKHEAD_URL", app.api.url("public"))
        .env("BULKHEAD_MAILS", &mails)
        .output()
        .await
        .unwrap();
    fs::remove_file(&mails).unwrap();
    let played = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{played}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let played = format!("{}\n", played.trim());
    let readme = read("README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::write(root().join("README.md"), [before, BEGIN, &played, END, after].concat()).unwrap();
    } else {
        assert_eq!(told, played, "the README tells another story; BLESS=1 writes it anew");
    }
}
