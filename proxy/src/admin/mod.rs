//! in → out: HTTP requests of operators and scrapers → what the proxy is, has and has done.
//! owns: the admin server and its pages.
//! may not touch: worker time, beyond asking for counts.

mod breakers;
mod clusters;
mod config_dump;
mod outliers;
mod server;
mod stats;

pub(crate) use server::{Scope, serve};
