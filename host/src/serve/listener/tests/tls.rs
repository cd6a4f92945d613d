//! Listeners that speak TLS.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::config::{ClientCertificates, Digest};

/// An authority that signs what tests need.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let certificate = params.self_signed(&key).expect("a certificate");
        let pem = certificate.pem();
        let der = certificate.der().clone();
        Self { issuer: Issuer::new(params, key), pem, certificate: der }
    }

    fn sign(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        Pair { certificate: params.signed_by(&key, &self.issuer).expect("it signs"), key }
    }

    fn tls(&self, clients: Option<ClientCertificates>) -> Tls {
        let Pair { certificate, key } = self.sign("localhost");
        let clients = clients.map(|wanted| (self.pem.as_bytes(), wanted));
        Tls::of_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), clients).expect("a pair")
    }

    /// Connects to the listener `at`, which has to have a certificate of this authority; shows `own`.
    async fn connect(
        &self,
        at: SocketAddr,
        own: Option<&Pair>,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it is one");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                config.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a pair")
            }
        };
        let socket = TcpStream::connect(at).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        Ok(Client::new(stream))
    }
}

/// What `/peer` says to `client`. `None`: the connection ends instead.
async fn peer(client: std::io::Result<Client<TlsStream<TcpStream>>>) -> Option<String> {
    let mut client = client.ok()?;
    client.stream.write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await.ok()?;
    client.next().await.map(|answer| answer.body)
}

#[tokio::test]
async fn requests_over_tls_say_so() {
    let authority = Authority::new();
    let site = Site::start(Limits::default(), Some(&authority.tls(None)));
    let client = authority.connect(site.address, None).await.expect("a handshake");
    let address = client.stream.get_ref().0.local_addr().expect("it is connected");
    let expected = format!("{:?}", Peer { address, certificate: None, is_tls: true });
    assert_eq!(peer(Ok(client)).await, Some(expected));
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let check = async |wanted, own: Option<&Pair>, expected: Option<Option<Digest>>| {
        let site = Site::start(Limits::default(), Some(&authority.tls(Some(wanted))));
        let told = peer(authority.connect(site.address, own).await).await;
        let shown = |certificate| format!("certificate: {certificate:?}, is_tls: true");
        match (told, expected.map(shown)) {
            (Some(told), Some(expected)) => assert!(told.contains(&expected), "{told}"),
            (told, expected) => assert_eq!(told, expected),
        }
    };
    let (known, foreign) = (authority.sign("a client"), other.sign("a stranger"));
    let digest = Digest::of(known.certificate.der());
    check(ClientCertificates::Required, Some(&known), Some(Some(digest))).await;
    check(ClientCertificates::Required, Some(&foreign), None).await;
    check(ClientCertificates::Required, None, None).await;
    check(ClientCertificates::Optional, Some(&known), Some(Some(digest))).await;
    check(ClientCertificates::Optional, Some(&foreign), None).await;
    check(ClientCertificates::Optional, None, Some(None)).await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_who_comes_next() {
    let (authority, next) = (Authority::new(), Authority::new());
    let site = Site::start(Limits::default(), Some(&authority.tls(None)));
    let mut before = authority.connect(site.address, None).await.expect("a handshake");
    assert!(next.connect(site.address, None).await.is_err());
    site.terms.tls.as_ref().expect("it has TLS").replace(&next.tls(None));
    assert_eq!(before.get("/peer").await.status, 200, "who is there stays");
    assert!(next.connect(site.address, None).await.is_ok());
    assert!(authority.connect(site.address, None).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_certificates_are_replaced() {
    let authority = Arc::new(Authority::new());
    let certificates = [authority.tls(None), authority.tls(None)];
    let site = Site::start(Limits::default(), Some(&certificates[1]));
    let swapped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client = || {
        let (authority, address, swapped) = (authority.clone(), site.address, swapped.clone());
        async move {
            let mut shown = std::collections::HashSet::new();
            while !swapped.load(std::sync::atomic::Ordering::Relaxed) {
                let client = authority.connect(address, None).await.expect("a handshake");
                let chain = client.stream.get_ref().1.peer_certificates().expect("one was shown");
                shown.insert(chain[0].to_vec());
                assert!(peer(Ok(client)).await.is_some(), "it is served");
            }
            shown.len()
        }
    };
    let clients: Vec<_> = (0..16).map(|_| tokio::spawn(client())).collect();
    let switch = site.terms.tls.as_ref().expect("it has TLS");
    for at in 0..100 {
        switch.replace(&certificates[at % 2]);
        // Whoever comes now has seen it.
        assert!(peer(authority.connect(site.address, None).await).await.is_some());
    }
    swapped.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut most = 0;
    for client in clients {
        most = most.max(client.await.expect("it does not panic"));
    }
    assert_eq!(most, 2, "both were shown");
}

#[tokio::test]
async fn plain_http_is_not_answered_on_a_port_for_tls() {
    let site = Site::start(Limits::default(), Some(&Authority::new().tls(None)));
    let mut client = site.connect().await;
    client.send("GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    client.ended().await;
    assert!(!String::from_utf8_lossy(&client.buffer).contains("HTTP"), "{:?}", client.buffer);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_ended() {
    let site = Site::start(Limits::default(), Some(&Authority::new().tls(None)));
    let mut silent = site.connect().await;
    silent.ended().await;
}

#[tokio::test]
async fn a_handshake_under_way_is_idle() {
    let authority = Authority::new();
    let site = Site::start(Limits { connections_max: 1, ..Limits::default() }, Some(&authority.tls(None)));
    let mut silent = site.connect().await;
    let mut client = authority.connect(site.address, None).await.expect("there is a place");
    silent.ended().await;
    assert_eq!(client.get("/peer").await.status, 200);
    // Idle again: what was sent last is on its way.
    assert!(peer(authority.connect(site.address, None).await).await.is_some());
    client.ended().await;
}
