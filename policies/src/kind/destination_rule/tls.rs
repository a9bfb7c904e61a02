//! TLS towards an upstream.

/// `tls` of a traffic policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientTls {
    /// Kind of TLS.
    pub mode: ClientTlsMode,
    /// Path of the client's certificate chain.
    pub client_certificate: Option<String>,
    /// Path of the client's key.
    pub private_key: Option<String>,
    /// Path of the CA bundle, or `system`; unset: the system's roots.
    pub ca_certificates: Option<String>,
    /// Secret with certificate and CA.
    pub credential_name: Option<String>,
    /// One of these names the server's certificate must carry; empty: those of the ServiceEntry, else SNI or host.
    pub subject_alt_names: Vec<String>,
    /// SNI; unset: the request's host.
    pub sni: Option<String>,
    /// Do not verify the server.
    pub insecure_skip_verify: bool,
    /// Path of a revocation list.
    pub ca_crl: Option<String>,
}

/// `tls.mode` of a traffic policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientTlsMode {
    /// Plain text.
    #[default]
    Disable,
    /// The server is verified.
    Simple,
    /// A client certificate is shown as well.
    Mutual,
    /// The mesh's own certificates.
    IstioMutual,
}
