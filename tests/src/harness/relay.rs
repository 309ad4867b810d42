//! A mail relay on the loopback that keeps what it is given.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Takes every mail, but for those it is told to lose. Gone when dropped.
pub struct Relay {
    port: u16,
    mails: watch::Receiver<Vec<Mail>>,
    _serving: JoinSet<()>,
}

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: String,
    pub to: String,
    /// Head and body, with line feeds.
    pub text: String,
    /// Whether the sender was told that it arrived.
    pub is_taken: bool,
}

impl Mail {
    /// The value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let head = self.text.split("\n\n").next().unwrap_or_default();
        let mut values = head
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.next().unwrap_or_else(|| panic!("no {name} in {head}"))
    }
}

impl Relay {
    /// A relay that answers every mail.
    pub async fn start() -> Self {
        Self::losing(0).await
    }

    /// A relay that hangs up on the first `n_lost` mails once it has them, without an answer.
    pub async fn losing(n_lost: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (arrived, mails) = watch::channel(Vec::new());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                conversations.spawn(converse(stream, arrived.clone(), n_lost));
            }
        });
        Self {
            port,
            mails,
            _serving: serving,
        }
    }

    /// What makes the product send through this relay.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BULKHEAD__MAIL__DRIVER", "smtp".into()),
            ("BULKHEAD__MAIL__SMTP_URL", format!("smtp://127.0.0.1:{}", self.port)),
            ("BULKHEAD__MAIL__LINK_BASE", "https://app.example.com".into()),
        ]
    }

    /// All mails so far, once there are at least `n`.
    pub async fn mails(&self, n: usize) -> Vec<Mail> {
        let mut mails = self.mails.clone();
        let arrived = mails.wait_for(|mails| mails.len() >= n);
        let arrived = tokio::time::timeout(std::time::Duration::from_secs(60), arrived).await;
        arrived
            .unwrap_or_else(|_| panic!("fewer than {n} mails within a minute"))
            .unwrap()
            .clone()
    }
}

async fn converse(stream: TcpStream, arrived: watch::Sender<Vec<Mail>>, n_lost: usize) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut from, mut to) = (String::new(), String::new());
    say(&mut stream, "220 relay").await?;
    loop {
        let line = hear(&mut stream).await?;
        match line.split([' ', ':']).next()? {
            "EHLO" => say(&mut stream, "250-relay\r\n250 8BITMIME").await?,
            "MAIL" => {
                from = address(&line);
                say(&mut stream, "250 yes").await?;
            }
            "RCPT" => {
                to = address(&line);
                say(&mut stream, "250 yes").await?;
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let text = body(&mut stream).await?;
                let mail = |is_taken| Mail {
                    from: from.clone(),
                    to: to.clone(),
                    text,
                    is_taken,
                };
                let mut is_taken = false;
                arrived.send_modify(|mails| {
                    is_taken = mails.len() >= n_lost;
                    mails.push(mail(is_taken));
                });
                if !is_taken {
                    return None;
                }
                say(&mut stream, "250 queued").await?;
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            _ => say(&mut stream, "502 what").await?,
        }
    }
}

async fn body(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = hear(stream).await?;
        if line == "." {
            return Some(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push('\n');
    }
}

fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map(|(address, _)| address.to_owned()).unwrap_or_default()
}

async fn hear(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn say(stream: &mut BufReader<TcpStream>, text: &str) -> Option<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()
}
