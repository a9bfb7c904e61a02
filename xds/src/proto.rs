//! The re-exports of Envoy's API under short names, and the packing of messages into `Any`.

pub use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

/// Envoy's v3 messages, a short module for each protobuf package.
pub mod pb {
    pub use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
    pub use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
    pub use envoy_types::pb::envoy::config::cluster::v3 as cluster;
    pub use envoy_types::pb::envoy::config::common::matcher::v3 as common_matcher;
    pub use envoy_types::pb::envoy::config::core::v3 as core;
    pub use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
    pub use envoy_types::pb::envoy::config::listener::v3 as listener;
    pub use envoy_types::pb::envoy::config::rbac::v3 as rbac;
    pub use envoy_types::pb::envoy::config::route::v3 as route;
    pub use envoy_types::pb::envoy::config::trace::v3 as trace;
    pub use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_fault;
    pub use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
    pub use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
    pub use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as jwt_authn;
    pub use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3 as local_ratelimit;
    pub use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http_rbac;
    pub use envoy_types::pb::envoy::extensions::filters::http::router::v3 as router;
    pub use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3 as http_inspector;
    pub use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3 as original_dst;
    pub use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3 as proxy_protocol;
    pub use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
    pub use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
    pub use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as network_rbac;
    pub use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;
    pub use envoy_types::pb::envoy::extensions::load_balancing_policies as lb_policies;
    pub use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3 as previous_hosts;
    pub use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3 as previous_priorities;
    pub use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3 as raw_buffer;
    pub use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
    pub use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;
    pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;
    pub use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
    pub use envoy_types::pb::envoy::r#type::metadata::v3 as metadata;
    pub use envoy_types::pb::envoy::r#type::tracing::v3 as tracing;
    pub use envoy_types::pb::envoy::r#type::v3 as percent;
    /// Well-known types: `Struct`, `Value`, `Duration`, the wrappers.
    pub use envoy_types::pb::google::protobuf;
    pub use envoy_types::pb::google::rpc;
    pub use envoy_types::pb::xds;

    /// The generated client of the aggregated discovery service.
    pub use discovery::aggregated_discovery_service_client as ads_client;
    /// The generated server of the aggregated discovery service.
    pub use discovery::aggregated_discovery_service_server as ads_server;
}

/// Why the content of an [`Any`] is not the message that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The `Any` holds another type.
    #[error("holds {found}, not {expected}")]
    Type {
        /// The type that was asked for.
        expected: String,
        /// The type URL found, as the peer wrote it.
        found: String,
    },
    /// The bytes do not decode as that type.
    #[error("does not decode as {expected}")]
    Decode {
        /// The type that was asked for.
        expected: String,
        /// What the decoder says.
        #[source]
        source: prost::DecodeError,
    },
}

/// Packs a message into an [`Any`] with its own type URL.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Unpacks a message of type `M`. Only what follows the last `/` of the type URL counts, as protobuf has it.
///
/// # Errors
/// When the type URL names another message, or the bytes do not decode.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, UnpackError> {
    let expected = M::full_name();
    if any.type_url.rsplit('/').next() != Some(expected.as_str()) {
        return Err(UnpackError::Type {
            expected,
            found: any.type_url.clone(),
        });
    }
    M::decode(any.value.as_slice()).map_err(|source| UnpackError::Decode { expected, source })
}
