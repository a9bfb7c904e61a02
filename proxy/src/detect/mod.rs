//! in → out: the first bytes of a connection → which protocol it speaks, and those bytes again for whoever reads next.
//! owns: what is looked at before a codec is chosen, and how much of it.
//! may not touch: chains, routes.

mod rewind;
mod sniff;

pub(crate) use rewind::Rewind;
pub(crate) use sniff::{Codec, Unknown, sniff};
