//! Filters of routes on real sockets: faults, cross-origin policies, copies.

mod cors;
mod fault;
mod hash;
mod mirror;
mod stage;
