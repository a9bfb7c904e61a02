//! The control plane: objects to Envoy resources to streams.
//!
//! in → out: a directory of objects → resources, streamed to every proxy that needs them.
//! owns: the line of stages `watch → world → plan → generate → cache → serve`, with `status` beside it.
//! may not touch: requests of the mesh.

pub mod app;
pub mod bootstrap;

pub mod watch;
pub mod world;

pub mod fleet;
pub mod generate;
pub mod plan;
pub mod scope;

pub mod cache;
pub mod serve;

pub mod admin;
pub mod status;
pub mod telemetry;
