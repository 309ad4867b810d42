//! Hostile URLs, names and servers. Nothing is dialled: connections are pipes whose other end the test holds.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bulkhead_kernel::config;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};

use crate::{Call, Dial, Outbound, OutboundError, Policy, Refusal, Resolve, Stream, Target};

/// Names with what they resolve to, one answer after the other; the last one stays.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, Vec<Vec<&'static str>>>>);

impl Names {
    fn of(name: &str, answers: &[&[&'static str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        Arc::new(Self(Mutex::new(BTreeMap::from([(name.to_owned(), answers)]))))
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let answer = if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        };
        Ok(answer.iter().map(|address| address.parse().unwrap()).collect())
    }
}

/// What was dialled, and the other ends of what was taken. Of addresses named `refusing` nothing is taken.
#[derive(Default)]
struct Line {
    dialled: Mutex<Vec<String>>,
    ends: Mutex<Vec<DuplexStream>>,
    refusing: Vec<&'static str>,
}

impl Line {
    fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().clone()
    }

    fn end(&self) -> Option<DuplexStream> {
        self.ends.lock().unwrap().pop()
    }
}

#[async_trait]
impl Dial for Line {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.dialled.lock().unwrap().push(address.to_string());
        if self.refusing.contains(&address.ip().to_string().as_str()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(64 * 1_024);
        self.ends.lock().unwrap().push(theirs);
        Ok(Box::new(ours))
    }
}

fn policy() -> Policy {
    Policy::new(&config::Outbound::default())
}

fn call(target: &Target) -> Call<'_> {
    Call {
        target,
        body: None,
        headers: &[],
        timeout: Duration::from_secs(10),
        max_bytes: 1_000,
    }
}

/// URLs that tell by themselves that they must not be called.
const HOSTILE_URLS: &[(&str, Refusal)] = &[
    ("", Refusal::Malformed),
    ("example.com", Refusal::Malformed),
    ("//example.com/", Refusal::Malformed),
    ("/hook", Refusal::Malformed),
    ("http://", Refusal::Malformed),
    ("http://exa mple.com/", Refusal::Malformed),
    ("http://example.com/a\r\nHost: internal", Refusal::Malformed),
    ("http://example.com\t.internal/", Refusal::Malformed),
    (" http://example.com/", Refusal::Malformed),
    ("http://example.com\\@127.0.0.1/", Refusal::Malformed),
    ("http://example.com/#@127.0.0.1", Refusal::Malformed),
    ("http://[::1", Refusal::Malformed),
    ("http://[fe80::1%25eth0]/", Refusal::Malformed),
    ("http://256.256.256.256/", Refusal::Malformed),
    ("http://127.0.0.1:99999/", Refusal::Malformed),
    ("file:///etc/passwd", Refusal::Scheme),
    ("ftp://example.com/", Refusal::Scheme),
    ("gopher://127.0.0.1:6379/_SET", Refusal::Scheme),
    ("unix:/var/run/docker.sock", Refusal::Scheme),
    ("data:text/plain,hello", Refusal::Scheme),
    ("javascript:alert(1)", Refusal::Scheme),
    ("ws://example.com/", Refusal::Scheme),
    ("http://user@example.com/", Refusal::Credentials),
    ("http://user:word@example.com/", Refusal::Credentials),
    ("http://example.com:80@127.0.0.1/", Refusal::Credentials),
    ("http://127.0.0.1/", Refusal::Host),
    ("http://127.1/", Refusal::Host),
    ("http://127.0.1/", Refusal::Host),
    ("http://2130706433/", Refusal::Host),
    ("http://0x7f000001/", Refusal::Host),
    ("http://0x7f.0.0.1/", Refusal::Host),
    ("http://0177.0.0.1/", Refusal::Host),
    ("http://017700000001/", Refusal::Host),
    ("http://127.0.0.1./", Refusal::Host),
    ("http://%31%32%37.0.0.1/", Refusal::Host),
    ("http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/", Refusal::Host),
    ("http://127\u{3002}0\u{3002}0\u{3002}1/", Refusal::Host),
    ("http://0/", Refusal::Host),
    ("http://0.0.0.0/", Refusal::Host),
    ("http://10.0.0.1/", Refusal::Host),
    ("http://100.64.0.1/", Refusal::Host),
    ("http://100.100.100.200/latest/meta-data/", Refusal::Host),
    ("http://168.63.129.16/", Refusal::Host),
    ("http://169.254.169.254/latest/meta-data/", Refusal::Host),
    ("http://[::ffff:169.254.169.254]/", Refusal::Host),
    ("http://172.31.255.255/", Refusal::Host),
    ("http://192.168.1.1/", Refusal::Host),
    ("http://192.0.0.192/", Refusal::Host),
    ("http://198.18.0.1/", Refusal::Host),
    ("http://203.0.113.7/", Refusal::Host),
    ("http://224.0.0.1/", Refusal::Host),
    ("http://255.255.255.255/", Refusal::Host),
    ("http://[::1]/", Refusal::Host),
    ("http://[::]/", Refusal::Host),
    ("http://[::ffff:127.0.0.1]/", Refusal::Host),
    ("http://[::127.0.0.1]/", Refusal::Host),
    ("http://[64:ff9b::7f00:1]/", Refusal::Host),
    ("http://[2002:7f00:1::]/", Refusal::Host),
    ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", Refusal::Host),
    ("http://[2001:db8::1]/", Refusal::Host),
    ("http://[fc00::1]/", Refusal::Host),
    ("http://[fd00:ec2::254]/", Refusal::Host),
    ("http://[fe80::1]/", Refusal::Host),
    ("http://[ff02::1]/", Refusal::Host),
    ("http://localhost/", Refusal::Host),
    ("http://LOCALHOST./", Refusal::Host),
    ("http://api.localhost/", Refusal::Host),
    ("http://postgres/", Refusal::Host),
    ("http://kubernetes/", Refusal::Host),
    ("http://example.com:22/", Refusal::Port),
    ("http://example.com:5432/", Refusal::Port),
    ("https://example.com:8443/", Refusal::Port),
    ("http://example.com:0/", Refusal::Port),
];

#[test]
fn hostile_urls_are_refused_before_anything_is_asked() {
    assert!(HOSTILE_URLS.len() >= 60);
    for (url, refusal) in HOSTILE_URLS {
        assert_eq!(Target::parse(url, &policy()).err(), Some(*refusal), "{url:?}");
    }
    let long = format!("https://example.com/{}", "a".repeat(2_048));
    assert_eq!(Target::parse(&long, &policy()).err(), Some(Refusal::Malformed));
}

#[test]
fn usual_urls_are_taken() {
    for url in [
        "https://example.com/",
        "https://example.com/hooks?a=b",
        "http://example.com/",
        "https://b\u{fc}cher.example/",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1::1]/",
        "https://example.com.:443/",
    ] {
        Target::parse(url, &policy()).unwrap_or_else(|refusal| panic!("{url}: {refusal}"));
    }
}

#[test]
fn this_very_machine_is_for_development_alone() {
    let policy = Policy::new(&config::Outbound {
        extra_ports: vec![8443],
        is_loopback_allowed: true,
    });
    for url in [
        "http://127.0.0.1:3000/",
        "http://localhost:9/",
        "https://[::1]/",
        "https://example.com:8443/",
    ] {
        assert!(Target::parse(url, &policy).is_ok(), "{url}");
    }
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[::ffff:127.0.0.1]/",
        "http://postgres/",
    ] {
        assert_eq!(Target::parse(url, &policy).err(), Some(Refusal::Host), "{url}");
    }
}

/// One address of each network that is closed, its ends among them.
const HOSTILE_ADDRESSES: &[&str] = &[
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "192.31.196.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.9",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:7f00:1",
    "::ffff:5db8:d822",
    "64:ff9b::5db8:d822",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::1",
    "2002::1",
    "2002:ffff::1",
    "2620:4f:8000::1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

#[tokio::test]
async fn a_name_that_resolves_to_a_closed_address_is_not_dialled() {
    for &address in HOSTILE_ADDRESSES {
        let line = Arc::new(Line::default());
        let client = Outbound::with(policy(), Names::of("evil.example", &[&[address]]), line.clone());
        let target = Target::parse("https://evil.example/", &policy()).unwrap();
        let refused = client.send(call(&target)).await.unwrap_err();
        assert!(matches!(refused, OutboundError::Forbidden), "{address}: {refused}");
        assert_eq!(line.dialled(), [""; 0], "{address}");
    }
}

#[tokio::test]
async fn addresses_beside_the_closed_networks_are_dialled() {
    for address in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.17",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2003::1",
        "2606:2800:220:1::1",
        "3ffe::1",
    ] {
        let line = Arc::new(Line {
            refusing: vec![address],
            ..Line::default()
        });
        let client = Outbound::with(policy(), Names::of("good.example", &[&[address]]), line.clone());
        let target = Target::parse("https://good.example/", &policy()).unwrap();
        assert!(
            matches!(client.send(call(&target)).await, Err(OutboundError::Unreachable(_))),
            "{address}"
        );
        assert_eq!(line.dialled().len(), 1, "{address}");
    }
}

#[tokio::test]
async fn a_resolver_that_changes_its_mind_is_asked_once_and_what_was_judged_is_dialled() {
    let line = Arc::new(Line {
        refusing: vec!["93.184.216.34"],
        ..Line::default()
    });
    let names = Names::of("rebind.example", &[&["93.184.216.34"], &["127.0.0.1"]]);
    let client = Outbound::with(policy(), names, line.clone());
    let target = Target::parse("http://rebind.example/", &policy()).unwrap();
    assert!(matches!(
        client.send(call(&target)).await,
        Err(OutboundError::Unreachable(_))
    ));
    assert_eq!(line.dialled(), ["93.184.216.34:80"]);
    // The next call asks anew and judges anew.
    assert!(matches!(
        client.send(call(&target)).await,
        Err(OutboundError::Forbidden)
    ));
    assert_eq!(line.dialled().len(), 1);
}

#[tokio::test]
async fn closed_addresses_among_open_ones_are_passed_over() {
    let line = Arc::new(Line {
        refusing: vec!["93.184.216.34", "93.184.216.35"],
        ..Line::default()
    });
    let answer: &[&[&str]] = &[&["10.0.0.1", "93.184.216.34", "::1", "93.184.216.35", "169.254.169.254"]];
    let client = Outbound::with(policy(), Names::of("mixed.example", answer), line.clone());
    let target = Target::parse("https://mixed.example/", &policy()).unwrap();
    assert!(client.send(call(&target)).await.is_err());
    assert_eq!(line.dialled(), ["93.184.216.34:443", "93.184.216.35:443"]);
}

#[tokio::test]
async fn no_name_a_closed_one_and_a_silent_host_look_alike() {
    let errors = [
        OutboundError::NoSuchName(io::ErrorKind::NotFound.into()),
        OutboundError::Forbidden,
        OutboundError::Unreachable(io::ErrorKind::ConnectionRefused.into()),
    ];
    assert!(errors.iter().all(|error| error.word() == "unreachable"));
}

/// The call, and the server's part of the conversation: what it reads, and what it says then.
async fn converse(
    url: &str,
    call: impl FnOnce(&Target) -> Call<'_>,
    says: &str,
) -> (String, Result<crate::Answer, OutboundError>, DuplexStream) {
    let line = Arc::new(Line::default());
    let client = Outbound::with(policy(), Names::of("good.example", &[&["93.184.216.34"]]), line.clone());
    let target = Target::parse(url, &policy()).unwrap();
    let serving = async {
        let mut end = loop {
            match line.end() {
                Some(end) => break end,
                None => tokio::task::yield_now().await,
            }
        };
        let mut head = vec![0; 4_096];
        let n = end.read(&mut head).await.unwrap();
        end.write_all(says.as_bytes()).await.unwrap();
        (String::from_utf8_lossy(&head[..n]).into_owned(), end)
    };
    let (answer, (head, end)) = tokio::join!(client.send(call(&target)), serving);
    (head, answer, end)
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_an_answer_like_any_other() {
    let says = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
    let (head, answer, _end) = converse("http://good.example/hook?a=b", call, says).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status(), answer.header("location")),
        (302, Some("http://169.254.169.254/"))
    );
    assert!(head.starts_with("GET /hook?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: good.example\r\n"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_posted_with_its_headers() {
    let headers = [("webhook-id", "msg_1".to_owned()), ("x-broken", "a\r\nb: c".to_owned())];
    let posting = |target| Call {
        body: Some(Bytes::from_static(b"{}")),
        headers: &headers,
        ..call(target)
    };
    let line = Arc::new(Line::default());
    let client = Outbound::with(policy(), Names::of("good.example", &[&["93.184.216.34"]]), line.clone());
    let target = Target::parse("http://good.example", &policy()).unwrap();
    let serving = async {
        tokio::task::yield_now().await;
        let mut end = line.end().unwrap();
        let mut said = vec![0; 4_096];
        let n = end.read(&mut said).await.unwrap();
        end.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&said[..n]).into_owned()
    };
    let (answer, said) = tokio::join!(client.send(posting(&target)), serving);
    assert_eq!(answer.unwrap().status(), 204);
    assert!(
        said.starts_with("POST / HTTP/1.1\r\n") && said.ends_with("\r\n\r\n{}"),
        "{said}"
    );
    assert!(
        said.contains("webhook-id: msg_1\r\n") && !said.contains("x-broken"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    for says in ["", "HTTP/1.1 200 OK\r\n"] {
        let (_, answer, _end) = converse("http://good.example/", call, says).await;
        assert!(matches!(answer, Err(OutboundError::TimedOut)), "{says:?}");
    }
    // Its body comes too slowly.
    let says = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nabc";
    let (_, answer, _end) = converse("http://good.example/", call, says).await;
    let mut answer = answer.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "abc");
    assert!(matches!(answer.chunk().await, Err(OutboundError::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_not_read() {
    let says = format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{}", "x".repeat(2_000));
    let (_, answer, _end) = converse("http://good.example/", call, &says).await;
    let mut answer = answer.unwrap();
    let mut read = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(data)) => read += data.len(),
            Ok(None) => panic!("all of it was taken"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, OutboundError::TooLarge) && read <= 1_000,
        "{error} after {read}"
    );
    let (_, answer, _end) = converse("http://good.example/", call, &says).await;
    assert_eq!(answer.unwrap().beginning(16).await, b"xxxxxxxxxxxxxxxx");
    let says = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "x".repeat(32 * 1_024));
    let (_, answer, _end) = converse("http://good.example/", call, &says).await;
    assert!(matches!(answer, Err(OutboundError::Protocol(_))));
}

#[tokio::test(start_paused = true)]
async fn who_speaks_no_http_or_no_tls_has_not_answered() {
    let (_, answer, _end) = converse("http://good.example/", call, "+PONG\r\n\r\n").await;
    assert!(matches!(answer, Err(OutboundError::Protocol(_))));
    let (hello, answer, _end) = converse("https://good.example/", call, "HTTP/1.1 200 OK\r\n\r\n").await;
    assert!(matches!(answer, Err(OutboundError::Tls(_))));
    assert!(hello.contains("good.example"), "the name goes with the hello");
}

/// What a server with the certificate of good.example says to a call of this URL, as one who trusts its maker or the usual
/// makers alone.
async fn protected(url: &str, is_trusted: bool) -> Result<crate::Answer, OutboundError> {
    let line = Arc::new(Line::default());
    let names = Arc::new(Names(Mutex::new(
        ["good.example", "other.example"]
            .map(|name| (name.to_owned(), vec![vec!["93.184.216.34"]]))
            .into(),
    )));
    let mut client = Outbound::with(policy(), names, line.clone());
    if is_trusted {
        let mut roots = RootCertStore::empty();
        let maker = include_bytes!("../testdata/ca.der").as_slice();
        roots.add(CertificateDer::from(maker)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        client.tls = TlsConnector::from(Arc::new(config));
    }
    let certificate = CertificateDer::from(include_bytes!("../testdata/good.example.der").as_slice());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("../testdata/good.example.key.der").as_slice());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key.into()).unwrap();
    let target = Target::parse(url, &policy()).unwrap();
    let serving = async {
        let end = loop {
            match line.end() {
                Some(end) => break end,
                None => tokio::task::yield_now().await,
            }
        };
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(end).await {
            let mut head = vec![0; 4_096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    };
    tokio::join!(client.send(call(&target)), serving).0
}

#[tokio::test(start_paused = true)]
async fn who_cannot_prove_a_name_is_not_talked_to() {
    let answer = protected("https://good.example/", true).await;
    assert_eq!(answer.unwrap().status(), 204);
    for (url, is_trusted) in [("https://other.example/", true), ("https://good.example/", false)] {
        let refused = protected(url, is_trusted).await;
        assert!(matches!(refused, Err(OutboundError::Tls(_))), "{url}");
    }
}
