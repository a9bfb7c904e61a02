//! in → out: none; the VirtualService as plain values.
//! owns: hosts, rules, their matches, actions, timeouts, retries, faults, mirrors and CORS.
//! may not touch: how rules of several objects are merged, Envoy's messages.

mod cors;
mod fault;
mod headers;
mod layer4;
mod matches;
mod retry;
mod route;
mod route_read;
mod spec;

pub use cors::{CorsPolicy, UnmatchedPreflights};
pub use fault::{Abort, AbortError, Delay, Fault, GrpcCode};
pub use headers::{HeaderOperations, Headers};
pub use layer4::{L4Match, RouteDestination, TcpRoute, TlsMatch, TlsRoute};
pub use matches::HttpMatch;
pub use retry::{HttpRetry, RetryOn, RetryWord};
pub use route::{
    Delegate, DirectResponse, Dropped, HttpAction, HttpMirror, HttpRedirect, HttpRewrite, HttpRoute,
    HttpRouteDestination, RedirectPort, RuleOrigin, UriRewrite,
};
pub use spec::VirtualService;
