//! in → out: a connection's first bytes → its protocol and those bytes again, or a server that spoke first.
//! owns: what is looked at before a chain or a codec is chosen, how much of it; who is taken to speak first.
//! may not touch: routes, how an upstream is dialled.

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
