//! The data plane: threads, sockets, HTTP and the xDS client.

pub mod app;
pub mod bootstrap;

mod admin;
mod detect;
mod dns;
mod health;
mod http;
mod listener;
mod node;
mod open_files;
mod passing;
mod shared;
mod snapshot;
mod tcp;
mod telemetry;
mod upstream;
mod worker;
pub mod xds;
