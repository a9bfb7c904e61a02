//! in → out: stages of rates and a seed → the intended instants of a thread's sends, as offsets from the start.
//! owns: when a request should be sent, to the nanosecond, whatever becomes of the ones before.
//! may not touch: a clock or a socket.

mod order;
mod profile;
mod sends;

pub(crate) use profile::{Arrivals, Profile, Stage};
pub(crate) use sends::Schedule;
