//! in → out: the first bytes of a connection → which protocol it speaks, and those bytes again for whoever reads next.
//! owns: what is looked at before a chain or a codec is chosen, and how much of it; who is taken to speak first.
//! may not touch: routes.

mod hello;
mod inspect;
mod look;
mod request_line;
mod rewind;
mod sniff;

pub(crate) use inspect::{Inspected, inspect};
pub(crate) use look::{Looks, Seen};
pub(crate) use rewind::Rewind;
pub(crate) use sniff::{Codec, Unknown, sniff};
