//! Envoy v3 messages and both halves of the xDS protocol as state machines without I/O.
