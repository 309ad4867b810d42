//! Listens in on what the product says to PostgreSQL: a proxy that passes everything on and keeps the queries.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::bail;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

use crate::postgres::Server;

/// The codes that a client sends in place of a protocol version to ask for encryption or for a cancellation.
const SPECIAL_REQUESTS: std::ops::RangeInclusive<i32> = 80_877_102..=80_877_104;

type Statements = Arc<Mutex<Vec<Recorded>>>;

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// A simple query: all statements of one message.
    Simple(String),
    /// A statement that is prepared and gets its values separately.
    Extended(String),
}

/// A proxy in front of a server. Gone when dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    said: Statements,
    listening: JoinHandle<()>,
}

impl Recorder {
    /// Listens on a free port.
    pub(crate) async fn before(server: &Server) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let said = Statements::default();
        let listening = tokio::spawn(accept(listener, server.clone(), Arc::clone(&said)));
        Ok(Self {
            address,
            said,
            listening,
        })
    }

    /// What stands in for the server.
    pub(crate) fn server(&self) -> Server {
        Server {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    /// Gives what was said since it was last asked.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn accept(listener: TcpListener, server: Server, said: Statements) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(upstream) = TcpStream::connect((server.host.as_str(), server.port)).await else {
            continue;
        };
        let (client_in, mut client_out) = client.into_split();
        let (mut server_in, server_out) = upstream.into_split();
        tokio::spawn(async move { copy(&mut server_in, &mut client_out).await });
        tokio::spawn(pass_on(client_in, server_out, Arc::clone(&said)));
    }
}

/// Passes the client's messages on until either side is gone.
async fn pass_on(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, said: Statements) -> anyhow::Result<()> {
    loop {
        let startup = read_payload(&mut client).await?;
        server.write_all(&length_of(&startup)?).await?;
        server.write_all(&startup).await?;
        let code = startup.first_chunk::<4>().map_or(0, |code| i32::from_be_bytes(*code));
        if !SPECIAL_REQUESTS.contains(&code) {
            break;
        }
    }
    loop {
        let kind = client.read_u8().await?;
        let payload = read_payload(&mut client).await?;
        if let Some(recorded) = recorded(kind, &payload) {
            said.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
        }
        let message = [&[kind], &length_of(&payload)?[..], &payload].concat();
        server.write_all(&message).await?;
    }
}

async fn read_payload(client: &mut OwnedReadHalf) -> anyhow::Result<Vec<u8>> {
    let len = usize::try_from(client.read_i32().await?)?;
    let Some(len) = len.checked_sub(4) else {
        bail!("a message without a length")
    };
    let mut payload = vec![0; len];
    client.read_exact(&mut payload).await?;
    Ok(payload)
}

fn length_of(payload: &[u8]) -> anyhow::Result<[u8; 4]> {
    Ok(i32::try_from(payload.len() + 4)?.to_be_bytes())
}

/// Both messages carry text that ends with a zero byte; `Parse` has the statement's name before it.
fn recorded(kind: u8, payload: &[u8]) -> Option<Recorded> {
    let mut texts = payload.split(|byte| *byte == 0);
    let mut text = || texts.next().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    match kind {
        b'Q' => text().map(Recorded::Simple),
        b'P' => {
            text();
            text().map(Recorded::Extended)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_queries_are_noticed() {
        assert_eq!(recorded(b'Q', b"SELECT 1\0"), Some(Recorded::Simple("SELECT 1".into())));
        assert_eq!(
            recorded(b'P', b"s1\0SELECT $1\0\0\0"),
            Some(Recorded::Extended("SELECT $1".into()))
        );
        assert_eq!(recorded(b'B', b"portal\0s1\0"), None);
    }
}
