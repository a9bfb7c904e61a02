//! TLS of a server port: Gateway servers and Sidecar ingress listeners.

use crate::codes;
use crate::decode::Field;

/// `tls` of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerTls {
    /// Answer plain HTTP with a redirect to https.
    pub https_redirect: bool,
    /// What is done with the handshake.
    pub mode: ServerTlsMode,
    /// Path of the certificate chain.
    pub server_certificate: Option<String>,
    /// Path of the key.
    pub private_key: Option<String>,
    /// Path of the CA bundle that client certificates must chain to.
    pub ca_certificates: Option<String>,
    /// Path of a revocation list.
    pub ca_crl: Option<String>,
    /// Secret with certificate and key.
    pub credential_name: Option<String>,
    /// Several Secrets, one per key type.
    pub credential_names: Vec<String>,
    /// Secret or ConfigMap with the CA for clients.
    pub ca_cert_credential_name: Option<String>,
    /// Several certificates by file.
    pub tls_certificates: Vec<ServerCertificate>,
    /// One of these names a client certificate must carry; empty: any.
    pub subject_alt_names: Vec<String>,
    /// Pinned public keys of clients (base64 of SHA-256).
    pub verify_certificate_spki: Vec<String>,
    /// Pinned certificates of clients (hex of SHA-256).
    pub verify_certificate_hash: Vec<String>,
    /// Lowest version offered.
    pub min_protocol_version: TlsVersion,
    /// Highest version offered.
    pub max_protocol_version: TlsVersion,
    /// Cipher suites up to TLS 1.2, OpenSSL names.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups.
    pub ecdh_curves: Vec<String>,
    /// Take client certificates that do not verify.
    pub insecure_skip_verify: bool,
}

/// One of several certificates by file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerCertificate {
    /// Path of the chain.
    pub server_certificate: String,
    /// Path of the key.
    pub private_key: String,
    /// Path of a CA bundle; Istio does not use it.
    pub ca_certificates: Option<String>,
}

/// `tls.mode` of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerTlsMode {
    /// Not terminated; SNI selects the route.
    #[default]
    Passthrough,
    /// Terminated with a server certificate.
    Simple,
    /// Terminated; a client certificate is required.
    Mutual,
    /// Not terminated; SNI names the cluster itself.
    AutoPassthrough,
    /// Terminated with the mesh's own certificates.
    IstioMutual,
    /// Terminated; a client certificate is asked for.
    OptionalMutual,
}

impl ServerTlsMode {
    /// Whether TLS ends here.
    pub fn terminates(self) -> bool {
        !matches!(self, Self::Passthrough | Self::AutoPassthrough)
    }
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TlsVersion {
    /// The proxy's own choice: 1.2 as minimum, 1.3 as maximum.
    #[default]
    Auto,
    /// TLS 1.0.
    V1_0,
    /// TLS 1.1.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Where a server's TLS block stands; a Sidecar may use less of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsPlace {
    Gateway,
    Sidecar,
}

impl ServerTlsMode {
    const WORDS: [(&'static str, Self); 6] = [
        ("PASSTHROUGH", Self::Passthrough),
        ("SIMPLE", Self::Simple),
        ("MUTUAL", Self::Mutual),
        ("AUTO_PASSTHROUGH", Self::AutoPassthrough),
        ("ISTIO_MUTUAL", Self::IstioMutual),
        ("OPTIONAL_MUTUAL", Self::OptionalMutual),
    ];
}

impl TlsVersion {
    pub(crate) const WORDS: [(&'static str, Self); 5] = [
        ("TLS_AUTO", Self::Auto),
        ("TLSV1_0", Self::V1_0),
        ("TLSV1_1", Self::V1_1),
        ("TLSV1_2", Self::V1_2),
        ("TLSV1_3", Self::V1_3),
    ];
}

/// Certificates of one server (the schema's limit).
const CERTIFICATES_MAX: usize = 2;

impl ServerTls {
    pub(crate) fn read(field: &Field<'_>, place: TlsPlace) -> Option<Self> {
        let mut fields = field.fields()?;
        let tls = Self {
            https_redirect: fields.flag("httpsRedirect"),
            mode: fields.word("mode", &ServerTlsMode::WORDS).unwrap_or_default(),
            server_certificate: fields.filled("serverCertificate"),
            private_key: fields.filled("privateKey"),
            ca_certificates: fields.filled("caCertificates"),
            ca_crl: fields.filled("caCrl"),
            credential_name: fields.filled("credentialName"),
            credential_names: fields.strings("credentialNames"),
            ca_cert_credential_name: fields.filled("caCertCredentialName"),
            tls_certificates: fields.list("tlsCertificates", ServerCertificate::read),
            subject_alt_names: fields.strings("subjectAltNames"),
            verify_certificate_spki: fields.strings("verifyCertificateSpki"),
            verify_certificate_hash: fields.strings("verifyCertificateHash"),
            min_protocol_version: fields
                .word("minProtocolVersion", &TlsVersion::WORDS)
                .unwrap_or_default(),
            max_protocol_version: fields
                .word("maxProtocolVersion", &TlsVersion::WORDS)
                .unwrap_or_default(),
            cipher_suites: fields.strings("cipherSuites"),
            ecdh_curves: fields.strings("ecdhCurves"),
            insecure_skip_verify: fields.flag("insecureSkipVerify"),
        };
        fields.finish();
        tls.check_sources(field);
        if place == TlsPlace::Sidecar {
            tls.check_sidecar(field);
        }
        let old = matches!(tls.min_protocol_version, TlsVersion::V1_0 | TlsVersion::V1_1);
        if old && tls.cipher_suites.is_empty() {
            field.warn(
                codes::SCHEMA_WARNING,
                "allows TLS below 1.2 without naming cipher suites",
                "raise minProtocolVersion",
            );
        }
        Some(tls)
    }

    /// Whether anything but the redirect is said.
    pub(crate) fn is_more_than_redirect(&self) -> bool {
        *self
            != Self {
                https_redirect: self.https_redirect,
                ..Self::default()
            }
    }

    fn check_sources(&self, field: &Field<'_>) {
        let by_file = self.server_certificate.is_some() || self.private_key.is_some();
        let by_credential = self.credential_name.is_some() || !self.credential_names.is_empty();
        let sources = [
            by_file,
            self.credential_name.is_some(),
            !self.credential_names.is_empty(),
            !self.tls_certificates.is_empty(),
        ];
        let any = sources.contains(&true) || self.ca_certificates.is_some() || self.ca_cert_credential_name.is_some();
        match self.mode {
            ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
                if any {
                    field.warn(
                        codes::SCHEMA_WARNING,
                        "names certificates, which passing TLS through does not use",
                        "remove them, or set `mode`",
                    );
                }
                return;
            }
            ServerTlsMode::IstioMutual => {
                if any || self.ca_crl.is_some() {
                    field.error(
                        "names certificates with mode ISTIO_MUTUAL",
                        "remove them: the mesh's own are used",
                    );
                }
                return;
            }
            ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {}
        }
        match sources.iter().filter(|given| **given).count() {
            0 => field.error(
                "names no certificate",
                "give serverCertificate with privateKey, or credentialName",
            ),
            1 => {}
            _ => field.error(
                "names several sources of certificates",
                "keep one of files, credentialName, credentialNames and tlsCertificates",
            ),
        }
        if by_file && (self.server_certificate.is_none() || self.private_key.is_none()) {
            field.error(
                "has half of a certificate",
                "serverCertificate and privateKey belong together",
            );
        }
        let asks_clients = matches!(self.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
        if asks_clients && !by_credential && self.ca_certificates.is_none() && self.ca_cert_credential_name.is_none() {
            field.error("asks for client certificates without a CA", "give caCertificates");
        }
        if self.ca_crl.is_some() && (by_credential || self.mode == ServerTlsMode::Simple) {
            field.error("has caCrl, which needs client certificates by file", "remove caCrl");
        }
        if self.credential_name.is_some() && self.ca_certificates.is_some() {
            field.error("has caCertificates beside credentialName", "put the CA into the Secret");
        }
        if self.credential_names.iter().any(String::is_empty) {
            field.error("has an empty name in credentialNames", "name a Secret");
        }
        if self.credential_names.len() > CERTIFICATES_MAX || self.tls_certificates.len() > CERTIFICATES_MAX {
            field.warn(
                codes::SCHEMA_WARNING,
                "has more than two certificates",
                "keep one RSA and one ECDSA certificate",
            );
        }
    }

    fn check_sidecar(&self, field: &Field<'_>) {
        let forbidden = self.https_redirect
            || !self.subject_alt_names.is_empty()
            || self.credential_name.is_some()
            || !self.credential_names.is_empty()
            || !self.tls_certificates.is_empty()
            || matches!(self.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough);
        if forbidden {
            field.error(
                "holds what a sidecar cannot do",
                "use mode SIMPLE, MUTUAL or OPTIONAL_MUTUAL with certificates by file only",
            );
        }
    }
}

impl ServerCertificate {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let server_certificate = fields
            .required("serverCertificate", "name a file")
            .and_then(|f| Some(f.text()?.to_owned()));
        let private_key = fields
            .required("privateKey", "name a file")
            .and_then(|f| Some(f.text()?.to_owned()));
        let ca_certificates = fields.filled("caCertificates");
        fields.finish();
        Some(Self {
            server_certificate: server_certificate?,
            private_key: private_key?,
            ca_certificates,
        })
    }
}
