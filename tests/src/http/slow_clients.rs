//! Clients that never finish what they say.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{App, Options};

#[tokio::test]
async fn silent_half_finished_and_trickling_clients_are_cut_off() {
    let app = App::with(Options {
        without_worker: true,
        settings: vec![
            ("BULKHEAD__SERVER__HEADER_TIMEOUT_SECS", "1".into()),
            ("BULKHEAD__SERVER__BODY_TIMEOUT_SECS", "1".into()),
        ],
        ..Options::default()
    })
    .await;
    let address = app.api.url("public").trim_start_matches("http://").to_owned();
    let half_body =
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    for (beginning, trickle) in [
        ("", ""),
        ("GET / HTTP/1.1\r\nhost: x\r\n", ""),
        ("GET / HTTP/1.1\r\n", "a: b\r\n"),
        (half_body, ""),
        (half_body, " "),
    ] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = socket.split();
        let mut answer = Vec::new();
        let closed = async {
            let trickling = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    if trickle.is_empty() || writer.write_all(trickle.as_bytes()).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                read = reader.read_to_end(&mut answer) => drop(read),
                () = trickling => {}
            }
        };
        let in_time = timeout(Duration::from_secs(20), closed).await;
        assert!(in_time.is_ok(), "still open after {beginning:?} and {trickle:?}");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}
