//! in → out: what a run came to → tables, JSON.
//! owns: names and units of what is shown.
//! may not touch: sockets.

pub(crate) mod json;
mod summary;
pub(crate) mod table;

pub(crate) use summary::Summary;
