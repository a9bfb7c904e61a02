//! Retries: what is tried again, how often, with which body, and what stops it.

mod bodies;
mod bounds;
mod conditions;
mod http2;
mod stage;
