//! How an application calls another: by its short name, through the HTTP proxy that is its sidecar.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::client::Caller;
use crate::pods::PORT;

/// How long another service may take.
const LIMIT: Duration = Duration::from_secs(3);
/// Connections to the sidecar that are kept.
const KEPT_MAX: usize = 64;

/// What has to go on with every call so that traces hang together and rules about users hold further in.
const PASSED_ON: [&str; 12] = [
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "baggage",
    "end-user",
    "user-agent",
];

/// The way to all other services.
pub(crate) struct Mesh {
    http_proxy: SocketAddr,
    kept: RefCell<Vec<Caller>>,
}

impl Mesh {
    pub(crate) fn through(http_proxy: SocketAddr) -> Self {
        Self {
            http_proxy,
            kept: RefCell::default(),
        }
    }

    /// Asks a service; what is no JSON with status 200 is described.
    pub(crate) async fn get(&self, service: &str, path: &str, passed_on: &HeaderMap) -> Result<Value, String> {
        let mut request = Request::new(Full::new(Bytes::new()));
        let target = format!("http://{service}:{PORT}{path}");
        *request.uri_mut() = target.parse().map_err(|_| format!("{target} is no URI"))?;
        *request.headers_mut() = passed_on.clone();
        let host = format!("{service}:{PORT}")
            .parse()
            .map_err(|_| format!("{service} is no host"))?;
        request.headers_mut().insert("host", host);
        let kept = self.kept.borrow_mut().pop();
        let mut caller = kept.unwrap_or_else(|| Caller::new(self.http_proxy, LIMIT));
        let reply = caller.call(request).await.map_err(|error| error.to_string())?;
        if self.kept.borrow().len() < KEPT_MAX {
            self.kept.borrow_mut().push(caller);
        }
        match reply.status() {
            StatusCode::OK => serde_json::from_slice(reply.body()).map_err(|_| format!("{service} sent no JSON")),
            status => Err(format!("{service} answered {}", status.as_u16())),
        }
    }
}

/// The headers of a request that go on with what it causes.
pub(crate) fn passed_on(incoming: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        for value in incoming.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}
