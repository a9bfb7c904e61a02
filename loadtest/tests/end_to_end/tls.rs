//! TLS: who is trusted, who is not, and the one line that says why.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::process::{Ended, load, undisturbed};

/// Bytes of a body that no buffer on its way holds.
const LONG: usize = 8_000_000;

/// An authority, and a folder with what it has issued, in PEM.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Issues `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, expired: bool) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(path)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// Serves as `name`; clients have to come with a certificate of this authority where `mutual`.
    async fn serve(&self, name: &str, mutual: bool, alpn: &[&[u8]]) -> u16 {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(Self::certificates(&self.path("ca.pem")));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let chain = Self::certificates(&self.path(&format!("{name}.pem")));
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(async |request: Request<Incoming>| {
                        drop(request.into_body().collect().await);
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        port
    }

    /// A run against `name`, with flags in which `@` stands for the folder.
    async fn load(&self, name: &str, port: u16, flags: &str) -> Ended {
        let flags = flags.replace('@', &format!("{}/", self.folder.path().display()));
        undisturbed(&format!(
            "https://{name}:{port}/ --resolve {name}:{port}:127.0.0.1 --rate 50 --duration 600ms -c 3 --output json {flags}"
        ))
        .await
    }
}

#[tokio::test]
async fn who_is_trusted_answers_over_both_protocols_with_and_without_a_client_certificate() {
    let authority = Authority::new();
    authority.issue("here.test", false);
    authority.issue("me.test", false);
    for (mutual, flags) in [
        (false, "--cacert @ca.pem"),
        (false, "--insecure"),
        (false, "--cacert @ca.pem --http2 --streams 4"),
        (true, "--cacert @ca.pem --cert @me.test.pem --key @me.test.key"),
        (true, "--cacert @ca.pem --cert @me.test.pem --key @me.test.key --http2"),
    ] {
        let port = authority.serve("here.test", mutual, &[b"h2", b"http/1.1"]).await;
        let ended = authority.load("here.test", port, flags).await;
        assert_eq!(ended.code, 0, "{flags}: {ended:?}");
        assert_eq!(ended.json()["codes"], serde_json::json!({"200": 30}), "{flags}");
    }
}

#[tokio::test]
async fn a_body_that_is_longer_than_all_buffers_arrives() {
    let authority = Authority::new();
    authority.issue("here.test", false);
    std::fs::write(authority.path("long"), vec![b'x'; LONG]).unwrap();
    let (ca, long) = (authority.path("ca.pem"), authority.path("long"));
    for flags in ["", "--http2"] {
        let port = authority.serve("here.test", false, &[b"h2", b"http/1.1"]).await;
        let result = load(&format!(
            "https://here.test:{port}/ --resolve here.test:{port}:127.0.0.1 --cacert {} --data @{} --rate max -c 1 \
             --duration 300ms --output json {flags}",
            ca.display(),
            long.display()
        ))
        .await
        .json();
        assert_eq!(result["requests"]["failed"], 0, "{flags}: {}", result["errors"]);
        let answered = result["requests"]["answered"].as_u64().unwrap();
        assert!(answered > 0, "{flags}: {result}");
        assert!(
            result["bytes"]["out"].as_u64().unwrap() >= answered * LONG as u64,
            "{flags}: {result}"
        );
    }
}

#[tokio::test]
async fn who_is_not_trusted_costs_one_line_that_says_why() {
    let authority = Authority::new();
    let stranger = Authority::new();
    for name in ["here.test", "me.test"] {
        authority.issue(name, false);
        stranger.issue(name, false);
    }
    authority.issue("old.test", true);
    std::fs::copy(stranger.path("me.test.pem"), authority.path("stranger.pem")).unwrap();
    std::fs::copy(stranger.path("me.test.key"), authority.path("stranger.key")).unwrap();
    for (name, serves, mutual, flags, words) in [
        ("here.test", "here.test", false, "", "UnknownIssuer"),
        (
            "there.test",
            "here.test",
            false,
            "--cacert @ca.pem",
            "not valid for name \"there.test\"",
        ),
        ("old.test", "old.test", false, "--cacert @ca.pem", "expired"),
        (
            "here.test",
            "here.test",
            true,
            "--cacert @ca.pem",
            "CertificateRequired",
        ),
        (
            "here.test",
            "here.test",
            true,
            "--cacert @ca.pem --http2",
            "CertificateRequired",
        ),
        (
            "here.test",
            "here.test",
            true,
            "--cacert @ca.pem --cert @stranger.pem --key @stranger.key",
            "the target refused us",
        ),
    ] {
        let port = authority.serve(serves, mutual, &[b"h2", b"http/1.1"]).await;
        let ended = authority.load(name, port, flags).await;
        assert_eq!(ended.code, 6, "{flags}: {ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{flags}: {ended:?}");
        assert!(
            ended.err.contains("TLS failed") && ended.err.contains(words),
            "{words}: {ended:?}"
        );
    }
    let port = authority.serve("here.test", false, &[b"http/1.1"]).await;
    let ended = authority.load("here.test", port, "--cacert @ca.pem --http2").await;
    assert_eq!((ended.code, ended.err.lines().count()), (6, 1), "{ended:?}");
    let files = authority
        .load("here.test", port, "--cacert @ca.pem --cert @me.test.pem --key @ca.pem")
        .await;
    assert_eq!((files.code, files.err.lines().count()), (2, 1), "{files:?}");
}
