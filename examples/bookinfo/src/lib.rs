//! A bookshop page in four small services, as people know it from the first steps with a mesh.
//!
//! in → out: the name of a pod → its server, which calls the others by their short names through its own sidecar.
//! owns: the pods and where they live, the page, the YAML files of the demo, one HTTP client.
//! may not touch: routing. No service knows which version of another will answer.

mod app;
pub mod client;
mod details;
pub mod files;
mod knobs;
mod ledger;
mod page;
pub mod pods;
mod productpage;
mod ratings;
mod reviews;
mod server;
#[cfg(test)]
mod tests;
mod upstream;

pub use server::{bind, serve};
