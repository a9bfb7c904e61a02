//! Real programs through two captured sidecars: packets redirected by the kernel, as in a pod, in namespaces that every test
//! makes for itself.
//!
//! Not part of the default run, since it needs those programs. It fails without, it never skips.

mod hostile;
mod http;
mod inside;
mod mesh;
mod net;
mod tcp;
mod unknown;
