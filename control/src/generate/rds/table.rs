//! A route table out of its inputs.

use weft_xds::{Resource, pb};

use super::route;
use crate::generate::wire;
use crate::plan::inputs::{RouteTableInputs, VirtualHostInputs};

/// Largest body of a direct response (validation refuses more); Envoy's own default of 4 KiB is too small.
const DIRECT_RESPONSE_BODY_BYTES_MAX: u32 = 1 << 20;

/// Generates the route table.
pub fn route_table(inputs: &RouteTableInputs) -> Resource {
    Resource::encode(&inputs.name, &message(inputs))
}

fn message(inputs: &RouteTableInputs) -> pb::route::RouteConfiguration {
    pb::route::RouteConfiguration {
        name: inputs.name.clone(),
        virtual_hosts: inputs
            .virtual_hosts
            .iter()
            .map(|host| virtual_host(host, inputs))
            .collect(),
        // A route may name a cluster that does not exist: its requests get 503, the rest of the table serves.
        validate_clusters: Some(wire::bool_value(false)),
        ignore_port_in_host_matching: !inputs.by_port,
        // Operations of a destination come after those of its rule, so that the destination's `set` wins.
        most_specific_header_mutations_wins: true,
        max_direct_response_body_size_bytes: Some(wire::u32_value(DIRECT_RESPONSE_BODY_BYTES_MAX)),
        ..Default::default()
    }
}

fn virtual_host(host: &VirtualHostInputs, table: &RouteTableInputs) -> pb::route::VirtualHost {
    use pb::route::virtual_host::TlsRequirementType;
    let require_tls = if host.https_redirect {
        TlsRequirementType::All
    } else {
        TlsRequirementType::None
    };
    pb::route::VirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        routes: host
            .routes
            .iter()
            .map(|route| route::route(route, table.default_retries.as_ref()))
            .collect(),
        require_tls: require_tls.into(),
        // Upstreams learn from `x-envoy-attempt-count` which try this is.
        include_request_attempt_count: true,
        ..Default::default()
    }
}
