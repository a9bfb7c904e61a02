//! What a cluster says about its making: to dashboards in Istio's words, to weft's diagnostics in its own.

use weft_policies::kind::destination_rule::ClientTlsMode;
use weft_xds::pb;

use crate::generate::wire;
use crate::plan::inputs::ClusterInputs;

/// The metadata of a cluster. `weft.set` names the policy values that somebody has set, since a value on the wire
/// does not tell whether it is a default.
pub(super) fn metadata(inputs: &ClusterInputs) -> Option<pb::core::Metadata> {
    let host = inputs.host.as_ref()?;
    let service = wire::nested([
        ("host", wire::text(&host.host)),
        ("name", wire::text(&host.name)),
        ("namespace", wire::text(&host.namespace)),
    ]);
    let mut istio = wire::structure([
        ("services", wire::list(vec![service])),
        ("default_original_port", wire::number(host.port.into())),
    ]);
    if let Some(subset) = &inputs.subset {
        istio.fields.insert("subset".to_owned(), wire::text(subset));
    }
    let mut parts = pb::core::Metadata::default();
    if let Some(rule) = &inputs.rule {
        let mut weft = wire::provenance(rule, None);
        weft.fields.insert(
            "set".to_owned(),
            wire::list(set(inputs).into_iter().map(wire::text).collect()),
        );
        parts.filter_metadata.insert("weft".to_owned(), weft);
        if let Some((namespace, name)) = rule.namespace_and_name()
            && rule.object.starts_with("DestinationRule/")
        {
            istio.fields.insert(
                "config".to_owned(),
                wire::istio_config("destination-rule", namespace, name),
            );
        }
    }
    parts.filter_metadata.insert("istio".to_owned(), istio);
    Some(parts)
}

/// Field paths of what the policy sets, among the fields that diagnostics show.
fn set(inputs: &ClusterInputs) -> Vec<&'static str> {
    let policy = &inputs.policy;
    let tcp = policy.connection_pool.as_ref().and_then(|pool| pool.tcp.as_ref());
    let tls = policy.tls.as_ref();
    let fields = [
        (
            "connectionPool.tcp.connectTimeout",
            tcp.is_some_and(|tcp| tcp.connect_timeout.is_some()),
        ),
        (
            "connectionPool.tcp.maxConnections",
            tcp.is_some_and(|tcp| tcp.max_connections.is_some()),
        ),
        ("outlierDetection", policy.outlier_detection.is_some()),
        ("loadBalancer", policy.load_balancer.is_some()),
        (
            "tls.mode.DISABLE",
            tls.is_some_and(|tls| tls.mode == ClientTlsMode::Disable),
        ),
        (
            "tls.mode.SIMPLE",
            tls.is_some_and(|tls| tls.mode == ClientTlsMode::Simple),
        ),
        (
            "tls.mode.MUTUAL",
            tls.is_some_and(|tls| tls.mode == ClientTlsMode::Mutual),
        ),
        (
            "tls.mode.ISTIO_MUTUAL",
            tls.is_some_and(|tls| tls.mode == ClientTlsMode::IstioMutual),
        ),
    ];
    fields
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
}
