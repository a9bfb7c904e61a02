//! in → out: the `mesh` key of the mesh ConfigMap → `MeshConfig`, findings.
//! owns: the mesh-wide settings that weft acts upon, and their defaults.
//! may not touch: objects of the traffic API.

mod decode;
mod settings;

pub use decode::decode;
pub use settings::{
    AccessLogEncoding, InboundTrafficMode, MeshConfig, MeshTrafficPolicy, PathNormalization, ProxyConfig,
};
