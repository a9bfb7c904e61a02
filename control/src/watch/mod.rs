//! in → out: a directory of YAML files → typed events (apply, delete, reset), file and line kept.
//! owns: when a file is believed, which of two files owns an object, limits on what is read.
//! may not touch: what objects mean to each other, proxies.

mod event;

pub use event::{Body, Event, Manifest};
