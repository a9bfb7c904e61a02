//! The control plane: objects to Envoy resources to streams.
