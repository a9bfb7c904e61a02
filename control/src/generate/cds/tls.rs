//! TLS towards an upstream.

use weft_policies::kind::destination_rule::{ClientTls, ClientTlsMode};
use weft_xds::{pack, pb};

use crate::generate::wire;
use pb::tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

/// Secret with the workload's own certificate (Istio).
const WORKLOAD_CERTIFICATE: &str = "default";
/// Secret with the roots of the mesh (Istio).
const MESH_ROOTS: &str = "ROOTCA";

/// The transport of a cluster; `None` is plain text.
pub(super) fn transport_socket(tls: &ClientTls, http2: bool) -> Option<pb::core::TransportSocket> {
    let mut common = pb::tls::CommonTlsContext::default();
    match tls.mode {
        ClientTlsMode::Disable => return None,
        ClientTlsMode::Simple => {}
        ClientTlsMode::Mutual => own_certificate(&mut common, tls),
        ClientTlsMode::IstioMutual => {
            common.tls_certificate_sds_secret_configs = vec![secret(WORKLOAD_CERTIFICATE)];
        }
    }
    common.validation_context_type = validation(tls);
    if tls.mode == ClientTlsMode::IstioMutual {
        common.alpn_protocols = if http2 {
            vec!["istio".to_owned(), "h2".to_owned()]
        } else {
            vec!["istio".to_owned()]
        };
    } else if http2 {
        common.alpn_protocols = vec!["h2".to_owned()];
    }
    let context = pb::tls::UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: tls.sni.clone().unwrap_or_default(),
        ..Default::default()
    };
    Some(pb::core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(pb::core::transport_socket::ConfigType::TypedConfig(pack(&context))),
    })
}

fn own_certificate(common: &mut pb::tls::CommonTlsContext, tls: &ClientTls) {
    if let Some(credential) = &tls.credential_name {
        common.tls_certificate_sds_secret_configs = vec![secret(&format!("kubernetes://{credential}"))];
    } else {
        common.tls_certificates = vec![pb::tls::TlsCertificate {
            certificate_chain: tls.client_certificate.as_deref().map(file),
            private_key: tls.private_key.as_deref().map(file),
            ..Default::default()
        }];
    }
}

/// Who the server has to be. Without an authority of the user's, the roots of the system decide.
fn validation(tls: &ClientTls) -> Option<ValidationContextType> {
    if tls.insecure_skip_verify {
        return None;
    }
    let mut context = pb::tls::CertificateValidationContext {
        match_typed_subject_alt_names: tls.subject_alt_names.iter().flat_map(|name| names(name)).collect(),
        crl: tls.ca_crl.as_deref().map(file),
        ..Default::default()
    };
    let from_secret = match (tls.mode, &tls.credential_name) {
        (ClientTlsMode::IstioMutual, _) => Some(MESH_ROOTS.to_owned()),
        (_, Some(credential)) => Some(format!("kubernetes://{credential}-cacert")),
        _ => None,
    };
    if let Some(name) = from_secret {
        return Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(context),
                validation_context_sds_secret_config: Some(secret(&name)),
                ..Default::default()
            },
        ));
    }
    match tls.ca_certificates.as_deref() {
        Some(path) if path != "system" => context.trusted_ca = Some(file(path)),
        _ => context.system_root_certs = Some(pb::tls::certificate_validation_context::SystemRootCerts {}),
    }
    Some(ValidationContextType::ValidationContext(context))
}

/// An expected name may be that of a host or a SPIFFE identity.
fn names(name: &str) -> [pb::tls::SubjectAltNameMatcher; 2] {
    use pb::tls::subject_alt_name_matcher::SanType;
    [SanType::Dns, SanType::Uri].map(|kind| pb::tls::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(pb::matcher::StringMatcher {
            match_pattern: Some(pb::matcher::string_matcher::MatchPattern::Exact(name.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn secret(name: &str) -> pb::tls::SdsSecretConfig {
    pb::tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(wire::ads()),
    }
}

fn file(path: &str) -> pb::core::DataSource {
    pb::core::DataSource {
        specifier: Some(pb::core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}
