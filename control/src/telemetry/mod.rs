//! in → out: what streams and pushes do → counters; counters and the status → Prometheus text.
//! owns: the names of the control plane's own metrics.
//! may not touch: what it counts.

mod metrics;
mod text;

pub use metrics::Metrics;
pub use text::render;
