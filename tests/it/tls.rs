//! What a gateway with a certificate says, to whom, and how.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use insta::assert_snapshot;
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tests::{
    Folder, Gateway, server,
    tls::{Authority, Pair, Validity, connect, exchange},
    until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
/// Clients that make one handshake after another while the certificate is replaced. A hundred swaps under 64 of them take a
/// machine for itself: there, too, none failed.
const VISITORS: usize = 16;
const SWAPS: usize = 20;
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Puts `pair` where gateway.toml says that it is.
fn install(folder: &Folder, pair: &Pair) {
    folder.replace("key.pem", pair.key_pem()).replace("cert.pem", pair.certificate_pem());
}

/// A gateway with a certificate of `authority`, and `more` in its table `[tls]`.
async fn gateway(authority: &Authority, more: &str) -> Gateway {
    let folder = Folder::empty();
    install(&folder, &authority.sign("localhost", Validity::Valid));
    folder.replace("ca.pem", authority.pem());
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{more}\n{}",
        server("greet", "greet")
    );
    folder.replace("gateway.toml", config);
    Gateway::in_folder(&folder).await
}

/// Whether a client is served.
async fn is_served(gateway: &Gateway, client: &TlsConnector) -> bool {
    let Ok(stream) = connect(client, gateway.address()).await else { return false };
    // In TLS 1.3 a client has made its handshake before its certificate is looked at.
    exchange(stream, HEALTH).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    for version in BOTH {
        assert!(is_served(&gateway, &authority.client(&[version], None)).await, "{version:?}");
    }
    let stream = connect(&authority.client(BOTH, None), gateway.address()).await.expect("a handshake");
    let call = "POST /greet/tools/echoHai HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 18\r\nconnection: close\r\n\r\n{\"userName\":\"Ada\"}";
    let answer = exchange(stream, call).await.expect("an answer");
    assert!(answer.ends_with(r#"{"result":"Hello, Ada!"}"#), "{answer}");
    assert!(!is_served(&gateway, &Authority::new().client(BOTH, None)).await, "it is not who it should be");
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let gateway = gateway(&Authority::new(), "").await;
    let stream = TcpStream::connect(gateway.address()).await.expect("it listens");
    let answer = exchange(stream, HEALTH).await.unwrap_or_default();
    assert!(!answer.contains("HTTP"), "{answer}");
}

#[tokio::test]
async fn clients_are_let_in_by_their_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let known = authority.sign("a client", Validity::Valid);
    let expired = authority.sign("a client of before", Validity::Expired);
    let foreign = other.sign("a stranger", Validity::Valid);
    let ca = "client_ca = \"ca.pem\"\nclient_certificates";
    for (wanted, without) in [("required", false), ("optional", true)] {
        let gateway = gateway(&authority, &format!("{ca} = \"{wanted}\"")).await;
        let check = async |own: Option<&Pair>, served: bool| {
            for version in BOTH {
                let client = authority.client(&[version], own);
                assert_eq!(is_served(&gateway, &client).await, served, "{wanted}, {version:?}");
            }
        };
        check(Some(&known), true).await;
        check(Some(&expired), false).await;
        check(Some(&foreign), false).await;
        check(None, without).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_again_and_again_and_no_handshake_fails() {
    let authority = Arc::new(Authority::new());
    let gateway = gateway(&authority, "").await;
    let (address, done) = (gateway.address(), Arc::new(AtomicBool::new(false)));
    let client = authority.client(BOTH, None);
    let shown = async move |client: &TlsConnector| {
        let stream = connect(client, address).await.expect("no handshake fails");
        let chain = stream.get_ref().1.peer_certificates().expect("one is shown");
        let certificate = chain[0].to_vec();
        let answer = exchange(stream, HEALTH).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        certificate
    };
    let visit = || {
        let (client, done) = (client.clone(), done.clone());
        async move {
            let mut seen = HashSet::new();
            while !done.load(Relaxed) {
                seen.insert(shown(&client).await);
            }
            seen
        }
    };
    let visitors: Vec<_> = (0..VISITORS).map(|_| tokio::spawn(visit())).collect();
    let pairs = [(); 2].map(|()| authority.sign("localhost", Validity::Valid));
    for at in 0..SWAPS {
        let pair = &pairs[at % 2];
        install(gateway.files(), pair);
        gateway.signal("HUP");
        until("the new certificate is shown", async || shown(&client).await == pair.der()).await;
    }
    done.store(true, Relaxed);
    let mut seen = HashSet::new();
    for visitor in visitors {
        seen.extend(visitor.await.expect("no handshake fails"));
    }
    assert!(pairs.iter().all(|pair| seen.contains(pair.der())), "both were shown");
}

#[tokio::test]
async fn a_key_that_does_not_fit_leaves_the_certificate_that_serves() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    let other = authority.sign("localhost", Validity::Valid);
    gateway.files().replace("cert.pem", other.certificate_pem());
    gateway.signal("HUP");
    assert!(is_served(&gateway, &authority.client(BOTH, None)).await);
    gateway.files().replace("key.pem", other.key_pem());
    gateway.signal("HUP");
    let client = authority.client(BOTH, None);
    until("the new certificate is shown", async || {
        let stream = connect(&client, gateway.address()).await.expect("a handshake");
        let chain = stream.get_ref().1.peer_certificates().expect("one is shown");
        &*chain[0] == other.der()
    })
    .await;
}

/// A ClientHello as bytes, for what no library of today would say.
struct Hello<'a> {
    /// The version that it says it speaks, up to TLS 1.2.
    version: [u8; 2],
    /// Whether it says that it speaks TLS 1.3 and nothing else.
    only_1_3: bool,
    suites: &'a [u16],
}

/// `bytes` after their length, which takes `width` bytes.
fn counted(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &*counted(2, content)].concat()
}

impl Hello<'_> {
    fn bytes(&self) -> Vec<u8> {
        let numbers = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        // X25519, P-256; ECDSA and RSA with SHA-256, ECDSA and RSA with SHA-1.
        let groups = extension(10, &counted(2, &numbers(&[0x001d, 0x0017])));
        let formats = extension(11, &counted(1, &[0]));
        let signatures = extension(13, &counted(2, &numbers(&[0x0403, 0x0804, 0x0401, 0x0203, 0x0201])));
        let mut extensions = [groups, formats, signatures].concat();
        if self.only_1_3 {
            // Any 32 bytes are a key of X25519.
            let share = [&[0, 0x1d], &*counted(2, &[9; 32])].concat();
            extensions.extend(extension(51, &counted(2, &share)));
            extensions.extend(extension(43, &counted(1, &[3, 4])));
        }
        let hello = [
            &self.version,
            &[7; 32][..],
            &counted(1, &[8; 32]),
            &counted(2, &numbers(self.suites)),
            &counted(1, &[0]),
            &counted(2, &extensions),
        ]
        .concat();
        let handshake = [&[1][..], &counted(3, &hello)].concat();
        [&[22, 3, 1][..], &counted(2, &handshake)].concat()
    }

    /// What is answered: the cipher suite chosen, or the alert's code.
    async fn answer(&self, gateway: &Gateway) -> Result<u16, u8> {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
        stream.write_all(&self.bytes()).await.expect("it reads");
        let mut record = [0; 5];
        stream.read_exact(&mut record).await.expect("an answer");
        let mut content = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
        stream.read_exact(&mut content).await.expect("all of it");
        match (record[0], &*content) {
            (21, [_, alert]) => Err(*alert),
            // Type, length, version, random, and the session's id after its length.
            (22, [2, hello @ ..]) => {
                let suite = 3 + 2 + 32 + 1 + usize::from(hello[37]);
                Ok(u16::from_be_bytes([hello[suite], hello[suite + 1]]))
            }
            other => panic!("neither an alert nor a ServerHello: {other:?}"),
        }
    }
}

/// Every cipher suite of all 65,536 that the gateway agrees to, found by offering all and taking away what it chooses.
async fn agreed(gateway: &Gateway, only_1_3: bool) -> BTreeSet<u16> {
    let mut agreed = BTreeSet::new();
    let every: Vec<u16> = (0..=u16::MAX).collect();
    // As many as fit into a record.
    for offered in every.chunks(7_000) {
        let mut offered = offered.to_vec();
        while let Ok(chosen) = (Hello { version: [3, 3], only_1_3, suites: &offered }).answer(gateway).await {
            assert!(agreed.insert(chosen), "{chosen:#06x} was not offered");
            offered.retain(|suite| *suite != chosen);
        }
    }
    agreed
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken() {
    let gateway = gateway(&Authority::new(), "").await;
    // ECDHE with AES, by CBC (what TLS 1.0 and 1.1 have) and by GCM.
    let suites = &[0xc009, 0xc00a, 0xc013, 0xc014, 0xc02b, 0xc02f];
    let answer = async |version| Hello { version, only_1_3: false, suites }.answer(&gateway).await;
    assert_eq!(answer([3, 3]).await, Ok(0xc02b), "TLS 1.2");
    let protocol_version = 70;
    for (old, name) in [([3, 2], "TLS 1.1"), ([3, 1], "TLS 1.0"), ([3, 0], "SSL 3.0")] {
        assert_eq!(answer(old).await, Err(protocol_version), "{name}");
    }
}

#[tokio::test]
async fn only_suites_with_forward_secrecy_and_authenticated_encryption_are_agreed_to() {
    let gateway = gateway(&Authority::new(), "").await;
    // CBC, RSA key exchange, finite fields, RC4, 3DES, export, none at all.
    let weak = [0xc009, 0xc00a, 0xc023, 0xc024, 0x002f, 0x0035, 0x009c, 0x009d, 0x0033, 0x009e];
    let weaker = [0x0005, 0x000a, 0x0003, 0x0001, 0xc006, 0xc008];
    let suites = &[&weak[..], &weaker].concat();
    let handshake_failure = 40;
    assert_eq!(
        Hello { version: [3, 3], only_1_3: false, suites }.answer(&gateway).await,
        Err(handshake_failure)
    );
    let names = async |only_1_3| {
        let name = |suite| format!("{:?}", rustls::CipherSuite::from(suite));
        agreed(&gateway, only_1_3).await.into_iter().map(name).collect::<Vec<_>>().join("\n")
    };
    // The certificate has an ECDSA key; with one of RSA there are the same with RSA in their names.
    assert_snapshot!(names(false).await, @r"
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    ");
    assert_snapshot!(names(true).await, @r"
    TLS13_AES_128_GCM_SHA256
    TLS13_AES_256_GCM_SHA384
    TLS13_CHACHA20_POLY1305_SHA256
    ");
}
