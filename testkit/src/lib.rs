//! Scripted upstreams, harness and contract tests; never shipped.
