//! TLS towards an upstream.

use crate::codes;
use crate::decode::Field;

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

impl ClientTls {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let words = [
            ("DISABLE", ClientTlsMode::Disable),
            ("SIMPLE", ClientTlsMode::Simple),
            ("MUTUAL", ClientTlsMode::Mutual),
            ("ISTIO_MUTUAL", ClientTlsMode::IstioMutual),
        ];
        let tls = Self {
            mode: fields.word("mode", &words).unwrap_or_default(),
            client_certificate: fields.filled("clientCertificate"),
            private_key: fields.filled("privateKey"),
            ca_certificates: fields.filled("caCertificates"),
            credential_name: fields.filled("credentialName"),
            subject_alt_names: fields.strings("subjectAltNames"),
            sni: fields.filled("sni"),
            insecure_skip_verify: fields.flag("insecureSkipVerify"),
            ca_crl: fields.filled("caCrl"),
        };
        fields.finish();
        tls.check(field);
        Some(tls)
    }

    fn check(&self, field: &Field<'_>) {
        let by_file = self.client_certificate.is_some() || self.private_key.is_some();
        let files = by_file || self.ca_certificates.is_some() || self.ca_crl.is_some();
        let verifies = self.ca_certificates.is_some() || !self.subject_alt_names.is_empty();
        match self.mode {
            ClientTlsMode::Disable => {}
            ClientTlsMode::IstioMutual => {
                if files || self.credential_name.is_some() {
                    let problem = "names certificates, which ISTIO_MUTUAL does not use";
                    field.warn(codes::NO_EFFECT, problem, "remove them, or use MUTUAL");
                }
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                if self.credential_name.is_some() && files {
                    field.error("has files beside credentialName", "keep one of them");
                }
                let skips_credential = self.mode == ClientTlsMode::Simple && self.credential_name.is_some();
                if self.insecure_skip_verify && (verifies || skips_credential) {
                    let fix = "remove insecureSkipVerify, or what is to be verified";
                    field.error("says whom to trust, and not to verify", fix);
                }
            }
        }
        let complete = self.client_certificate.is_some() && self.private_key.is_some();
        if self.mode == ClientTlsMode::Mutual && !complete && self.credential_name.is_none() {
            field.error(
                "has mode MUTUAL without a client certificate",
                "give clientCertificate with privateKey, or credentialName",
            );
        }
    }
}
