//! The `[tls]` table: what a listener shows to clients, and what it wants to see of them.
//!
//! In:   the content of the files that the table names.
//! Out:  [`Tls`], ready to take handshakes; two of the same content are equal, whatever their files are called.
//! Fails: if a file does not hold what it should, or the key is another certificate's; says which file and what to put there.
//! Never: reads a file, looks at the time, shows a key.

use std::{fmt, sync::Arc};

use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::Digest;

/// HTTP/1.1 is all that the listeners speak.
const ALPN: &[u8] = b"http/1.1";

/// How a listener speaks TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// Of everything that it was made of.
    digest: Digest,
}

/// Whether clients have to show a certificate. One that is shown has to be good in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Who shows none is a client without a certificate.
    Optional,
    /// Who shows none is refused in the handshake.
    Required,
}

/// A file that `[tls]` names, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// The gateway's certificate and those that lead from it to a root.
    Cert,
    /// Its private key.
    Key,
    /// Who signs the certificates of clients.
    ClientCa,
}

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nothing of the kind is in there.
    #[error("there is no {} in it; {}", .file.holds(), .file.remedy())]
    Missing {
        /// Where.
        file: TlsFile,
    },
    /// It is no PEM.
    #[error("it is not PEM, which is text between `-----BEGIN ..-----` and `-----END ..-----`; {}", .file.remedy())]
    NotPem {
        /// Where.
        file: TlsFile,
    },
    /// PEM, of something that is not what it says it is.
    #[error("the {} in it cannot be used; {}", .file.holds(), .file.remedy())]
    Unusable {
        /// Where.
        file: TlsFile,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// Certificate and key are each good.
    #[error("the private key belongs to another certificate; use the key that `cert` was made with")]
    OtherKey,
}

impl TlsFile {
    /// The key of `[tls]` that names it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }

    fn holds(self) -> &'static str {
        match self {
            Self::Key => "private key",
            Self::Cert | Self::ClientCa => "certificate",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Cert => {
                "`cert` has to hold the gateway's certificate and after it those of the authorities between it and the root"
            }
            Self::Key => "`key` has to hold one unencrypted private key (PKCS #8, PKCS #1 or SEC 1)",
            Self::ClientCa => "`client_ca` has to hold the certificates of who signs those of clients",
        }
    }
}

impl TlsError {
    /// The file that is wrong.
    pub fn file(&self) -> TlsFile {
        match self {
            Self::Missing { file } | Self::NotPem { file } | Self::Unusable { file, .. } => *file,
            Self::OtherKey => TlsFile::Key,
        }
    }
}

impl Tls {
    /// Makes it of the content of `[tls] cert` and `key`; of `client_ca` too if clients may, or have to, show certificates.
    pub fn of_pem(
        cert_chain_pem: &[u8],
        key_pem: &[u8],
        clients: Option<(&[u8], ClientCertificates)>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = certified_key(cert_chain_pem, key_pem, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((ca, wanted)) => builder.with_client_cert_verifier(verifier(ca, wanted, provider)?),
        };
        let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { server: Arc::new(server), digest: digest(cert_chain_pem, key_pem, clients) })
    }

    /// What handshakes are taken with.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

fn certified_key(cert: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert, TlsFile::Cert)?;
    for certificate in &chain {
        let parsed = ParsedCertificate::try_from(certificate);
        parsed.map_err(|source| TlsError::Unusable { file: TlsFile::Cert, source })?;
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| not_in(TlsFile::Key, &error))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|source| TlsError::Unusable { file: TlsFile::Key, source })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that cannot say what its public half is may well be the right one.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::OtherKey),
        Err(source) => Err(TlsError::Unusable { file: TlsFile::Cert, source }),
    }
}

fn verifier(
    ca: &[u8],
    wanted: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let file = TlsFile::ClientCa;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, file)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable { file, source })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match wanted {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    Ok(builder.build().expect("there are roots, and no revocation lists"))
}

fn certificates(pem: &[u8], file: TlsFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Missing { file }),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(not_in(file, &error)),
    }
}

/// What the parser says of a key may quote it, so it is not told.
fn not_in(file: TlsFile, error: &pem::Error) -> TlsError {
    match error {
        pem::Error::NoItemsFound => TlsError::Missing { file },
        _ => TlsError::NotPem { file },
    }
}

/// Of the digests of the parts, so that nothing can move from one part to the next.
fn digest(cert: &[u8], key: &[u8], clients: Option<(&[u8], ClientCertificates)>) -> Digest {
    let (ca, wanted) = clients.unzip();
    let parts = [cert, key, ca.unwrap_or_default()].map(|part| Digest::of(part).to_string());
    Digest::of(format!("{} {wanted:?}", parts.join(" ")).as_bytes())
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.digest)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// PEM of a certificate for `localhost`, signed by itself, and of its key.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn check(cert: &str, key: &str, ca: Option<&str>, expected: Result<(), (TlsFile, &str)>) {
        let clients = ca.map(|ca| (ca.as_bytes(), ClientCertificates::Required));
        let made = Tls::of_pem(cert.as_bytes(), key.as_bytes(), clients);
        let told = made.map(|_| ()).map_err(|error| (error.file(), error.to_string()));
        match (told, expected) {
            (Ok(()), Ok(())) => {}
            (Err((file, told)), Err((wrong, starts))) => {
                assert_eq!(file, wrong, "{told}");
                assert!(told.starts_with(starts), "{told}");
            }
            (told, expected) => panic!("{told:?} is not {expected:?}"),
        }
    }

    /// PEM that says what it is, and is not.
    fn garbage(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn a_pair_of_certificate_and_key_is_taken() {
        let (cert, key) = pair();
        let (ca, _) = pair();
        check(&cert, &key, None, Ok(()));
        check(&cert, &key, Some(&format!("{ca}{cert}")), Ok(()));
        check(&format!("{cert}{ca}"), &key, None, Ok(()));
        // As some tools write it: both in one file.
        let both = format!("{key}{cert}");
        check(&both, &both, None, Ok(()));
    }

    #[test]
    fn the_file_that_is_wrong_is_said_to_be() {
        let ((cert, key), (_, other)) = (pair(), pair());
        use TlsFile::*;
        check("", &key, None, Err((Cert, "there is no certificate in it; `cert` has")));
        check(&key, &key, None, Err((Cert, "there is no certificate in it")));
        check(&cert, &cert, None, Err((Key, "there is no private key in it; `key` has")));
        check(
            &cert,
            &key,
            Some("nothing"),
            Err((ClientCa, "there is no certificate in it; `client_ca` has")),
        );
        check(&cert, &other, None, Err((Key, "the private key belongs to another certificate")));
        let cut = &cert[..cert.len() / 2];
        check(cut, &key, None, Err((Cert, "it is not PEM")));
        check(&cert, &key[..key.len() / 2], None, Err((Key, "it is not PEM")));
        check(&cert, &key, Some(cut), Err((ClientCa, "it is not PEM")));
        check(&garbage("CERTIFICATE"), &key, None, Err((Cert, "the certificate in it cannot be used")));
        check(&cert, &garbage("PRIVATE KEY"), None, Err((Key, "the private key in it cannot be used")));
        let encrypted = garbage("ENCRYPTED PRIVATE KEY");
        check(&cert, &encrypted, None, Err((Key, "there is no private key in it")));
        let bad_ca = garbage("CERTIFICATE");
        check(&cert, &key, Some(&bad_ca), Err((ClientCa, "the certificate in it cannot be used")));
    }

    #[test]
    fn what_was_made_of_the_same_is_the_same() {
        let ((cert, key), (ca, _)) = (pair(), pair());
        let made = |clients: Option<ClientCertificates>| {
            let clients = clients.map(|wanted| (ca.as_bytes(), wanted));
            Tls::of_pem(cert.as_bytes(), key.as_bytes(), clients).expect("it is a pair")
        };
        assert_eq!(made(None), made(None));
        let wanted = [None, Some(ClientCertificates::Optional), Some(ClientCertificates::Required)];
        for (at, one) in wanted.iter().enumerate() {
            for other in &wanted[at + 1..] {
                assert_ne!(made(*one), made(*other));
            }
        }
        let shown = format!("{:?}", made(None));
        assert!(key.lines().all(|line| !shown.contains(line)), "{shown}");
    }

    #[test]
    fn neither_old_versions_nor_weak_ciphers_nor_http_2_are_offered() {
        let (cert, key) = pair();
        let server = Tls::of_pem(cert.as_bytes(), key.as_bytes(), None).expect("a pair").server_config();
        let provider = server.crypto_provider();
        let suites: Vec<String> =
            provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        insta::assert_snapshot!(suites.join("\n"), @r"
        TLS13_AES_256_GCM_SHA384
        TLS13_AES_128_GCM_SHA256
        TLS13_CHACHA20_POLY1305_SHA256
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        ");
        assert_eq!(server.alpn_protocols, [b"http/1.1"]);
        assert_eq!(server.max_early_data_size, 0, "early data can be sent again by anybody");
    }
}
