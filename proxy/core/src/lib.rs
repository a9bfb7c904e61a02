//! Every decision of the data plane, pure.
//!
//! Values in, values out: no socket, no clock, no thread, no ambient randomness. The rooms follow the way of a request.

pub mod chain;
pub mod route;

pub mod filter;

pub mod cluster;

pub mod balance;

pub mod limit;
pub mod outlier;
pub mod retry;

mod golden;
mod provenance;

pub use provenance::Provenance;
