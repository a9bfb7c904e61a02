//! in → out: typed events from `watch/` → an immutable [`World`] and what changed since any older one.
//! owns: the indexes of the cluster, the last good value of every object, the one place that writes them.
//! may not touch: proxies, Envoy messages, sockets, files.

mod changes;
mod endpoint;
mod key;
mod pod;
mod protocol;
mod service;
mod view;

pub use changes::Changes;
pub use endpoint::{Endpoint, Locality, Readiness};
pub use key::{Kind, NamespacedName, ObjectKey};
pub use pod::{ContainerPort, Pod};
pub use protocol::Protocol;
pub use service::{Service, ServicePort, TargetPort};
pub use view::{Map, Policies, Secret, World};
