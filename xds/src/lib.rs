//! Envoy v3 messages and both halves of the xDS protocol as state machines without I/O.
//!
//! in → out: discovery messages and what a peer holds → which message goes next, and what changed.
//! owns: message names, type URLs and their order, nonces, versions, subscriptions.
//! may not touch: sockets, timers, the meaning of a resource.

mod interest;
mod ledger;
mod nack;
mod proto;
mod resource;
mod subscription;
mod type_url;
mod version;

pub mod delta;
pub mod sotw;

pub use interest::{Interest, WILDCARD};
pub use ledger::{Batch, Holding, Ledger, Live, Rejected, Verdict};
pub use nack::{Rejection, error_detail, verdict};
pub use proto::pb;
pub use proto::{Any, UnpackError, pack, unpack};
pub use resource::Resource;
pub use subscription::{IN_FLIGHT_MAX, LimitExceeded, NAMES_MAX, Received, Subscription};
pub use type_url::TypeUrl;
pub use version::content_version;
