//! HTTP/1.1 over one keep-alive connection, as little of it as a load generator needs.

use std::{net::SocketAddr, ops::Range};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The bytes of a GET.
pub(crate) fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    request("GET", path, token, &[], "")
}

/// The bytes of a request with a JSON body and further headers.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = vec![
        format!("{method} {path} HTTP/1.1"),
        "host: bulkhead".into(),
        "accept: application/json".into(),
    ];
    head.extend(token.map(|token| format!("authorization: Bearer {token}")));
    head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        head.push("content-type: application/json".into());
        head.push(format!("content-length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

/// What came back.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body, null when it is not JSON.
    pub(crate) body: Value,
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
        })
    }

    /// Sends a request and gives the status; the body is read and thrown away.
    pub(crate) async fn status_of(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let (status, body) = self.exchange(request).await?;
        self.forget(body.end);
        Ok(status)
    }

    /// Sends a request and gives the whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let (status, range) = self.exchange(request).await?;
        let body = serde_json::from_slice(&self.buffer[range.clone()]).unwrap_or(Value::Null);
        self.forget(range.end);
        Ok(Answer { status, body })
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, Range<usize>)> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = Head::parse(&self.buffer[..self.filled])? {
                break head;
            }
            self.fill().await?;
        };
        let end = head.len + head.body_len;
        while self.filled < end {
            self.fill().await?;
        }
        Ok((head.status, head.len..end))
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.filled += read;
        Ok(())
    }

    fn forget(&mut self, end: usize) {
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
    }
}

struct Head {
    status: u16,
    len: usize,
    body_len: usize,
}

impl Head {
    /// Nothing while the head is not complete.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = str::from_utf8(&bytes[..end])?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.get(9..12))
            .context("no status line")?;
        let status = status.parse()?;
        let mut body_len = 0;
        for line in lines {
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    body_len = value.trim().parse()?;
                }
                Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => bail!("the answer is chunked"),
                _ => {}
            }
        }
        Ok(Some(Self {
            status,
            len: end + 4,
            body_len,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        assert!(
            Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
                .unwrap()
                .is_none()
        );
        let head = Head::parse(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap()
            .unwrap();
        assert_eq!((head.status, head.body_len), (404, 5));
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
