//! in → out: typed events from `watch/` → an immutable [`World`] and what changed since any older one.
//! owns: the indexes of the cluster, the last good value of every object, the one place that writes them.
//! may not touch: proxies, Envoy messages, sockets, files.

mod changes;
mod convert;
mod delegation;
mod endpoint;
mod keep;
mod key;
mod load;
mod pod;
mod reach;
mod service;
mod shelf;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use changes::Changes;
pub use endpoint::{Endpoint, Locality, Readiness};
pub use keep::keep;
pub use key::{Kind, NamespacedName, ObjectKey};
pub use load::load;
pub use pod::{ContainerPort, Pod};
pub use service::{Service, ServicePort, TargetPort};
pub use view::{Map, Policies, Secret, World};
pub use weft_policies::kind::protocol::Protocol;
pub use writer::{Outcome, Verdict, Writer};
