//! Scripted upstreams, harness and contract tests; never shipped.
//!
//! in → out: a script → a server, a client or a control plane on loopback, port 0, with a record of what it saw.
//! owns: everything that a test across sockets needs and production must not know of.
//! may not touch: private items of the packages under test, any port or file that it did not make itself.

pub mod ads;
pub mod client;
pub mod control;
pub mod dns;
pub mod eventually;
pub mod http2;
pub mod mesh;
pub mod message;
pub mod objects;
pub mod proxy;
pub mod tcp;
pub mod upstream;

pub use ads::{AdsServer, AdsStream};
pub use client::{Client, Reply};
pub use control::Control;
pub use eventually::eventually;
pub use http2::{Call, Http2Behaviour, Http2Client, Http2Reply, Http2Upstream};
pub use mesh::Mesh;
pub use proxy::{Proxy, ProxySettings};
pub use tcp::TcpUpstream;
pub use upstream::{Behaviour, Counts, Ledger, Seen, Upstream};
