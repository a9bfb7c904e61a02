//! in → out: a behaviour that can be changed at any time → responses, failures, and a ledger of who asked for what.
//! owns: the scripted upstream.
//! may not touch: sending load.

mod admin;
mod alarms;
mod answer;
mod behaviour;
mod body;
mod connection;
mod ends;
mod flags;
mod ledger;
mod listen;
mod unary;

pub(crate) use flags::ServeArgs;
pub(crate) use listen::run;
