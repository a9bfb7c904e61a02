//! in → out: a directory of YAML files → typed events (apply, delete, reset), file and line kept.
//! owns: when a file is believed, which of two files owns an object, limits on what is read.
//! may not touch: what objects mean to each other, proxies.

mod catalog;
mod codes;
mod decode;
mod directory;
mod event;
mod kept;
mod source;
mod text;
mod tree;

#[cfg(test)]
mod tests;

pub use event::{Body, Event, Manifest};
pub use source::{
    FileSource, OpenError, SECOND_LOOK_AFTER, SECOND_LOOK_AT_EMPTY_AFTER, SURVEY_EVERY, SURVEY_EVERY_WITHOUT_NOTICES,
};
pub use text::events_of;
pub use tree::{DEPTH_MAX, FILES_MAX, TOTAL_BYTES_MAX};
