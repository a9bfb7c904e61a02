//! TLS: what a run trusts and presents, and the handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::flags::FlagError;
use crate::input;

/// Bytes of certificates or of a key, at most: a bundle of all authorities of the world has a quarter of a MiB.
const PEM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the flags say about TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFlags<'a> {
    pub(crate) cacert: Option<&'a Path>,
    pub(crate) cert: Option<&'a Path>,
    pub(crate) key: Option<&'a Path>,
    pub(crate) insecure: bool,
    /// Offered application protocols (RFC 7301).
    pub(crate) alpn: &'static [&'static [u8]],
}

/// The client's side of all handshakes.
///
/// # Errors
/// For files that cannot be read or hold something else, and for a certificate without its key.
pub(crate) fn config(flags: &TlsFlags<'_>) -> Result<Arc<ClientConfig>, FlagError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3");
    let verifier = if flags.insecure {
        versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        versions.with_root_certificates(roots(flags.cacert)?)
    };
    let mut config = match (flags.cert, flags.key) {
        (None, None) => verifier.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates("--cert", cert)?;
            let private = input::file("--key", key, PEM_BYTES_MAX)?;
            let private = PrivateKeyDer::from_pem_slice(&private).map_err(|error| file("--key", key, &error))?;
            verifier
                .with_client_auth_cert(chain, private)
                .map_err(|error| file("--key", key, &error))?
        }
        (Some(path), None) => return Err(FlagError::value("--cert", &path.to_string_lossy(), "needs its --key")),
        (None, Some(path)) => return Err(FlagError::value("--key", &path.to_string_lossy(), "needs its --cert")),
    };
    config.alpn_protocols = flags.alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn roots(cacert: Option<&Path>) -> Result<RootCertStore, FlagError> {
    let mut roots = RootCertStore::empty();
    match cacert {
        Some(path) => {
            for certificate in certificates("--cacert", path)? {
                roots.add(certificate).map_err(|error| file("--cacert", path, &error))?;
            }
        }
        // Single certificates of the machine that cannot be read are the machine's business.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FlagError> {
    let text = input::file(flag, path, PEM_BYTES_MAX)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file(flag, path, &error))?;
    if certificates.is_empty() {
        return Err(file(flag, path, &"holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn file(flag: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> FlagError {
    FlagError::File {
        flag,
        path: path.to_string_lossy().into_owned(),
        problem: problem.to_string(),
    }
}

/// The name that the server has to prove, and that it is asked for (RFC 6066 3).
///
/// # Errors
/// If it is neither a DNS name nor an address.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, FlagError> {
    let wanted = "must be a DNS name or an address where TLS is spoken";
    ServerName::try_from(host.to_owned()).map_err(|_| FlagError::value("URL", host, wanted))
}

/// `--insecure`: anybody is believed; only that they hold the key of what they show is checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
