//! TLS of a server port: Gateway servers and Sidecar ingress listeners.

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
