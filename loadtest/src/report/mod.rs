//! in → out: what a run came to → tables and files.
//! owns: names and units of what is shown.
//! may not touch: sockets.

pub(crate) mod chart;
pub(crate) mod compare;
pub(crate) mod csv;
pub(crate) mod fortio;
pub(crate) mod hdr;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod live;
pub(crate) mod page_file;
pub(crate) mod table;
