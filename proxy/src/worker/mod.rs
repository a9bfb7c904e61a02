//! in → out: commands of the main thread and connections of the kernel → served requests.
//! owns: one thread with its runtime, connections, pool, shard and clock. Its types stay on it.
//! may not touch: another worker.

mod command;
mod connections;
mod executor;
mod state;
mod thread;

pub(crate) use command::{Command, Scrape};
pub(crate) use connections::ConnectionGuard;
pub(crate) use executor::LocalExecutor;
pub(crate) use state::Worker;
pub(crate) use thread::{WorkerHandle, spawn};
