//! in → out: a resource message of Envoy's API → the core type that says the same, or the reason for a NACK.
//! owns: the only place where resource messages are read; the protocol's own defaults; what is refused and what is ignored.
//! may not touch: I/O, the current snapshot.
//!
//! A field that is not known to have effect is either ignored and named in [`Translated::ignored`], or refused: refused
//! when ignoring it would change who may talk, where traffic goes, or whether it is encrypted.

#![allow(
    deprecated,
    reason = "other control planes still send what Envoy has renamed, and it still means something"
)]

mod action;
mod chain;
mod cluster;
mod context;
mod defaults;
mod endpoint;
mod error;
mod headers;
mod http;
mod listener;
mod matcher;
mod outlier;
mod policy;
mod route;
mod tcp;
#[cfg(test)]
mod tests;
mod upstream;
mod value;

pub use cluster::cluster;
pub use context::{IGNORED_MAX, Translated};
pub use endpoint::endpoints;
pub use error::{Problem, TranslateError};
pub use listener::listener;
pub use route::route_table;
pub use upstream::can_connect;
