//! A session with PostgreSQL that can send simple queries, so that the bench needs neither psql nor a driver.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use url::Url;

/// Rows of text; `None` is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A server that lets local users in without a password.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Server {
    /// The server that a URL names.
    pub(crate) fn of(url: &Url) -> anyhow::Result<Self> {
        Ok(Self {
            host: url.host_str().context("the database URL names no host")?.to_owned(),
            port: url.port().unwrap_or(5432),
        })
    }

    /// What the product is told.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!(
            "postgres://{user}@{}:{}/{database}?sslmode=disable",
            self.host, self.port
        )
    }
}

/// One session.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
    /// The server process.
    pub(crate) pid: u32,
}

impl Session {
    /// Connects and waits until the server is ready.
    pub(crate) async fn open(server: &Server, user: &str, database: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        let mut startup = 196_608_i32.to_be_bytes().to_vec();
        startup.extend(format!("user\0{user}\0database\0{database}\0\0").into_bytes());
        stream.write_all(&framed(None, &startup)?).await?;
        let stream = BufReader::new(stream);
        let mut session = Self { stream, pid: 0 };
        session.read_until_ready().await?;
        Ok(session)
    }

    /// Sends one message and gives the rows of all its statements.
    pub(crate) async fn query(&mut self, sql: &str) -> anyhow::Result<Rows> {
        let mut payload = sql.as_bytes().to_vec();
        payload.push(0);
        self.stream.write_all(&framed(Some(b'Q'), &payload)?).await?;
        self.read_until_ready().await
    }

    /// The first column of the first row.
    pub(crate) async fn scalar(&mut self, sql: &str) -> anyhow::Result<String> {
        let rows = self.query(sql).await?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        value.with_context(|| format!("no row from: {sql}"))
    }

    async fn read_until_ready(&mut self) -> anyhow::Result<Rows> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let kind = self.stream.read_u8().await?;
            let len = usize::try_from(self.stream.read_i32().await?)?;
            let mut payload = vec![0; len.saturating_sub(4)];
            self.stream.read_exact(&mut payload).await?;
            match kind {
                b'R' if payload[..4] != [0; 4] => bail!("PostgreSQL wants a password; the bench knows none"),
                b'D' => rows.push(parse_row(&payload)?),
                b'K' => self.pid = payload.first_chunk().map_or(0, |pid| u32::from_be_bytes(*pid)),
                b'E' => failure = Some(message_of(&payload)),
                b'Z' => break,
                _ => {}
            }
            // Before the session is open an error is not followed by anything.
            if let (b'E', Some(failure)) = (kind, &failure)
                && failure.starts_with("FATAL")
            {
                bail!("PostgreSQL: {failure}");
            }
        }
        match failure {
            Some(failure) => bail!("PostgreSQL: {failure}"),
            None => Ok(rows),
        }
    }
}

fn framed(kind: Option<u8>, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let len = i32::try_from(payload.len() + 4)?;
    let mut message = Vec::from_iter(kind);
    message.extend(len.to_be_bytes());
    message.extend(payload);
    Ok(message)
}

fn parse_row(payload: &[u8]) -> anyhow::Result<Vec<Option<String>>> {
    let mut rest = payload.get(2..).context("a row without columns")?;
    let mut row = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        row.push(match usize::try_from(i32::from_be_bytes(*len)) {
            Ok(len) => {
                let (value, behind) = rest.split_at_checked(len).context("a row that is cut off")?;
                rest = behind;
                Some(String::from_utf8(value.to_vec())?)
            }
            Err(_) => None,
        });
    }
    Ok(row)
}

/// Severity and text of an error.
fn message_of(payload: &[u8]) -> String {
    let fields = payload.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let wanted = fields.filter(|(kind, _)| matches!(kind, b'V' | b'M'));
    let words: Vec<_> = wanted.map(|(_, text)| String::from_utf8_lossy(text)).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_null_apart_from_empty() {
        let payload = [&[0, 2][..], &[0, 0, 0, 0], &[255, 255, 255, 255]].concat();
        assert_eq!(parse_row(&payload).unwrap(), [Some(String::new()), None]);
    }

    #[test]
    fn an_error_tells_its_severity_and_text() {
        let payload = b"SFEHLER\0VERROR\0C42P01\0Mno such table\0\0";
        assert_eq!(message_of(payload), "ERROR: no such table");
    }
}
