//! Filters of routes on real sockets: faults, cross-origin policies, copies.

mod cors;
mod fault;
mod mirror;
mod stage;
