//! An endpoint on the loopback that keeps what it is sent and answers what it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::harness::eventually;

/// A message as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Which of the signatures are made with this secret; as a customer would find out.
    pub(super) fn signed_by(&self, secret: &str) -> Vec<usize> {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id(), self.headers["webhook-timestamp"]).as_bytes());
        mac.update(&self.body);
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let all = self.headers["webhook-signature"].split(' ').enumerate();
        all.filter(|(_, one)| *one == signature)
            .map(|(index, _)| index)
            .collect()
    }

    pub(super) fn n_signatures(&self) -> usize {
        self.headers["webhook-signature"].split(' ').count()
    }
}

/// What a message is answered with.
#[derive(Clone)]
pub(super) enum Reply {
    /// A whole answer, as it goes over the wire.
    Raw(String),
    /// A status with headers and no body.
    Status(u16, &'static str),
    /// Nothing, until [`Receiver::let_go`]; then 204.
    Hang,
}

/// Gone when dropped.
pub(super) struct Receiver {
    pub(super) url: String,
    messages: Arc<Mutex<Vec<Message>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    usual: Arc<Mutex<Reply>>,
    held: Arc<Semaphore>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// One that says 204 to everything.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/hook", listener.local_addr().unwrap().port());
        let receiver = Self {
            url,
            messages: Arc::default(),
            replies: Arc::default(),
            usual: Arc::new(Mutex::new(Reply::Status(204, ""))),
            held: Arc::new(Semaphore::new(0)),
            _serving: JoinSet::new(),
        };
        let (messages, replies) = (receiver.messages.clone(), receiver.replies.clone());
        let (usual, held) = (receiver.usual.clone(), receiver.held.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (messages, replies) = (messages.clone(), replies.clone());
                let (usual, held) = (usual.clone(), held.clone());
                conversations.spawn(async move {
                    let mut stream = stream;
                    let Some(message) = read(&mut stream).await else { return };
                    let next = replies.lock().unwrap().pop_front();
                    let reply = next.unwrap_or_else(|| usual.lock().unwrap().clone());
                    messages.lock().unwrap().push(message);
                    let text = match reply {
                        Reply::Raw(text) => text,
                        Reply::Status(status, headers) => format!("HTTP/1.1 {status} X\r\n{headers}\r\n"),
                        Reply::Hang => {
                            held.acquire().await.unwrap().forget();
                            "HTTP/1.1 204 X\r\n\r\n".into()
                        }
                    };
                    // Whoever asked may be gone.
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self {
            _serving: serving,
            ..receiver
        }
    }

    /// What the next messages are answered with, one after the other.
    pub(super) fn say(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// What messages are answered with from now on.
    pub(super) fn always_say(&self, reply: Reply) {
        *self.usual.lock().unwrap() = reply;
    }

    /// Lets some go that hang.
    pub(super) fn let_go(&self, n: usize) {
        self.held.add_permits(n);
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    /// All messages, as soon as there are so many.
    pub(super) async fn wait_for(&self, n: usize) -> Vec<Message> {
        eventually("messages have arrived", async || {
            let messages = self.messages();
            (messages.len() >= n).then_some(messages)
        })
        .await
    }
}

async fn read(stream: &mut TcpStream) -> Option<Message> {
    let mut said = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        if let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(said[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let line = lines.next()?.to_owned();
            let headers: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
            if said.len() >= end + 4 + length {
                let body = said[end + 4..].to_vec();
                return Some(Message { line, headers, body });
            }
        }
        match stream.read(&mut piece).await.ok()? {
            0 => return None,
            n => said.extend_from_slice(&piece[..n]),
        }
    }
}
