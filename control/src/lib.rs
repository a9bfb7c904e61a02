//! The control plane: objects to Envoy resources to streams.

pub mod scope;
pub mod watch;
pub mod world;
