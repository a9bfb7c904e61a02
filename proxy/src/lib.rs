//! The data plane: threads, sockets, HTTP and the xDS client.

pub mod xds;
