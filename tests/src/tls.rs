//! Certificates of the tests' own, and clients that speak TLS.

use std::{io, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// An authority that signs what tests need.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// Whether a certificate still holds.
#[derive(Debug, Clone, Copy)]
pub enum Validity {
    /// It does.
    Valid,
    /// It did, until the year 2000.
    Expired,
}

impl Authority {
    /// One that nobody else has.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, certificate: der }
    }

    /// Its own certificate, for `client_ca`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate that it has signed.
    pub fn sign(&self, name: &str, validity: Validity) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        if let Validity::Expired = validity {
            params.not_after = date_time_ymd(2000, 1, 1);
        }
        Pair { certificate: params.signed_by(&key, &self.issuer).expect("it signs"), key }
    }

    /// How a client sets out that trusts this authority; it speaks only `versions` and shows `own`. A handshake is made in
    /// full each time, as if the client had never been there.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion], own: Option<&Pair>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it is one");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("there are cipher suites for them")
            .with_root_certificates(roots);
        let mut config = match own {
            None => config.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                config.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a pair")
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// PEM of the certificate.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// PEM of the key.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}

/// Connects to what has to be `localhost` at `address`.
pub async fn connect(client: &TlsConnector, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, TcpStream::connect(address).await?).await
}

/// Sends `request`, a whole one with `connection: close`, and reads until the connection ends.
pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
