//! in → out: what a run came to → tables and files.
//! owns: names and units of what is shown.
//! may not touch: sockets.

pub(crate) mod json;
pub(crate) mod live;
pub(crate) mod table;
