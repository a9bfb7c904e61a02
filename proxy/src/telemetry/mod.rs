//! in → out: ended requests, counted by each worker apart → metric families, merged when somebody asks.
//! owns: label sets, worker shards, totals, the exposition formats.
//! may not touch: requests in flight; no lock and no text on their path.

pub(crate) mod family;
pub(crate) mod labels;
pub(crate) mod native;
pub(crate) mod shard;
pub(crate) mod standard;
pub(crate) mod tcp;
pub(crate) mod text;
pub(crate) mod totals;
