//! The data plane: threads, sockets, HTTP and the xDS client.

pub mod app;
pub mod bootstrap;

mod admin;
mod http;
mod listener;
mod node;
mod open_files;
mod shared;
mod snapshot;
mod telemetry;
mod upstream;
mod worker;
pub mod xds;
