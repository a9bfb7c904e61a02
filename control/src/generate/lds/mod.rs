//! in → out: `ListenerInputs` → `envoy.config.listener.v3.Listener`.
//! owns: listeners, their filter chains, the settings of HTTP connections.
//! may not touch: the world, routes beyond the name of their table.

mod application;
mod http;
mod inspectors;
mod listener;
mod tcp;

pub use listener::listener;
