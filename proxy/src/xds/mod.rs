//! in → out: a stream of discovery messages, or a file → updates through one door, the [`Sink`].
//! owns: the stream, what is held and stated, answers, backoff, the file of accepted resources.
//! may not touch: runtime objects, the meaning of a resource (that is `translate/`).

mod accepted;
mod backoff;
mod client;
mod discover;
mod saver;
mod sink;
mod state_file;
mod status;
pub mod translate;

pub use client::{Settings, run};
pub use sink::Sink;
pub use status::Status;
