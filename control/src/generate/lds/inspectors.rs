//! The filters that look at the first bytes of a connection, and what they call what they see.

use std::time::Duration;

use weft_xds::{pack, pb};

use crate::generate::wire;

/// What the HTTP inspector calls the protocols that a route table can serve (Istio: `plaintextHTTPALPNs`).
pub(super) const HTTP_INBOUND: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];
/// The same on the way out, without HTTP/1.0: there it would only be refused, and passes as opaque bytes.
pub(super) const HTTP_OUTBOUND: [&str; 2] = [HTTP_INBOUND[1], HTTP_INBOUND[2]];
/// What the TLS inspector calls bytes that are no TLS.
pub(super) const RAW: &str = "raw_buffer";
/// What it calls those that are.
pub(super) const TLS: &str = "tls";

/// Looks for TLS.
pub(super) fn tls() -> pb::listener::ListenerFilter {
    wire::listener_filter(
        "envoy.filters.listener.tls_inspector",
        pack(&pb::tls_inspector::TlsInspector::default()),
    )
}

/// Looks for HTTP.
pub(super) fn http() -> pb::listener::ListenerFilter {
    wire::listener_filter(
        "envoy.filters.listener.http_inspector",
        pack(&pb::http_inspector::HttpInspector::default()),
    )
}

/// Has a listener look, for as long as `wait` and without a limit if that is zero. A client that stays silent for longer is
/// taken for opaque bytes.
pub(super) fn attach(
    listener: &mut pb::listener::Listener,
    filters: Vec<pb::listener::ListenerFilter>,
    wait: Duration,
) {
    if filters.is_empty() {
        return;
    }
    listener.listener_filters = filters;
    listener.listener_filters_timeout = Some(wire::duration(wait));
    listener.continue_on_listener_filters_timeout = true;
}
