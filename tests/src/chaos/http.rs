//! One request over a connection of its own, so that it is known how far it came when its server goes away.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody took the call, so nothing was asked.
    Refused,
    /// It was asked, and the answer is missing or cut off.
    CutOff(String),
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Sends a request; `base` is such as `http://127.0.0.1:8080`, and without a body it is a GET.
pub(crate) async fn call(base: &str, path: &str, token: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    let host = base.strip_prefix("http://").unwrap_or(base);
    let mut stream = TcpStream::connect(host).await.map_err(|_| Failure::Refused)?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = timeout(Duration::from_secs(30), async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = match answer.await {
        Ok(Ok(answer)) => String::from_utf8_lossy(&answer).into_owned(),
        Ok(Err(error)) => return Err(Failure::CutOff(error.to_string())),
        Err(_) => return Err(Failure::CutOff("no answer in 30 s".into())),
    };
    parse(&answer).ok_or_else(|| Failure::CutOff(format!("after {} bytes", answer.len())))
}

/// `None` unless all of it is there.
fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return None;
    }
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Some(Answer { status, body })
}
