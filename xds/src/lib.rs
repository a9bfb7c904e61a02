//! Envoy v3 messages and both halves of the xDS protocol as state machines without I/O.
//!
//! in → out: discovery messages and what a peer holds → which message goes next, and what changed.
//! owns: message names, type URLs and their order, nonces, versions, subscriptions.
//! may not touch: sockets, timers, the meaning of a resource.

mod proto;
mod resource;
mod type_url;
mod version;

pub use proto::pb;
pub use proto::{Any, UnpackError, pack, unpack};
pub use resource::Resource;
pub use type_url::TypeUrl;
pub use version::content_version;
