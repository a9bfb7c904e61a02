//! in → out: none; plain, checked values, one file (or room) per resource kind, fields named as Istio names them.
//! owns: the shape of what a user may say, and how each kind is read from a document.
//! may not touch: other objects, the order in which they win, Envoy's messages.

pub mod connection_pool;
pub mod destination;
pub mod destination_rule;
pub mod gateway;
pub mod peer_authentication;
pub mod protocol;
pub mod server_tls;
pub mod service_entry;
pub mod sidecar;
pub mod string_match;
pub mod virtual_service;
