//! A request → what the behaviour says becomes of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::json;
use tokio::sync::Notify;

use super::alarms::Alarms;
use super::behaviour::Behaviour;
use super::body::{Manner, ReplyBody};
use super::connection::Connection;
use super::ledger::{InFlightGuard, Ledger};
use super::unary;
use crate::clock;

/// Bytes of a request's body, at most; more is read and dropped.
const ECHOED_BYTES_MAX: usize = 64 * 1024;

/// What all connections of a scripted upstream share.
pub(super) struct Upstream {
    pub(super) name: String,
    /// It echoes bytes, and speaks no HTTP.
    pub(super) tcp: bool,
    pub(super) hostname: String,
    pub(super) started: u64,
    pub(super) behaviour: RefCell<Rc<Behaviour>>,
    /// Told when the behaviour has changed.
    pub(super) changed: Notify,
    pub(super) ledger: Ledger,
    /// Waits of requests.
    pub(super) alarms: Alarms,
    pub(super) random: RefCell<fastrand::Rng>,
}

/// One connection, as its requests see it.
pub(super) struct Served {
    pub(super) upstream: Rc<Upstream>,
    pub(super) connection: Rc<Connection>,
    pub(super) peer: SocketAddr,
    pub(super) requests: Cell<u64>,
    /// Told when it has carried as many requests as it may.
    pub(super) full: Notify,
}

impl Served {
    /// Answers a request, or fails it.
    pub(super) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<ReplyBody>, io::Error> {
        let upstream = &self.upstream;
        let caller = caller(&request, self.peer);
        let route = format!("{} {}", request.method(), request.uri().path());
        let in_flight = upstream.ledger.came(&caller, &route);
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let behaviour = upstream.behaviour.borrow().clone();
        let came_ns = clock::now();
        let since = Duration::from_nanos(came_ns - upstream.started);
        let fate = behaviour.fate(since, &mut upstream.random.borrow_mut());
        let (head, body) = request.into_parts();
        let sent = read(body).await?;
        if !fate.wait.is_zero() {
            let late_ns = upstream
                .alarms
                .until(came_ns.saturating_add(clock::nanoseconds_of(fate.wait)))
                .await;
            upstream.ledger.late(late_ns);
        }
        if fate.reset {
            upstream.ledger.reset();
            // On HTTP/2 the error alone resets the stream, and the connection lives on.
            if head.version != Version::HTTP_2 {
                self.connection.reset();
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = behaviour.raw.requests_per_connection;
        let last = most > 0 && number >= most;
        if last {
            self.full.notify_one();
        }
        let raw = &behaviour.raw;
        let manner = Manner {
            filler: raw.body_bytes,
            rate: raw.body_rate,
            early_close: fate.early_close,
        };
        if head.version == Version::HTTP_2 && is_grpc(&head.headers) {
            return Ok(self.grpc(head.uri.path(), &sent, fate.status, manner, in_flight));
        }
        upstream.ledger.answered(fate.status);
        let text = json!({
            "name": upstream.name, "hostname": upstream.hostname, "version": env!("CARGO_PKG_VERSION"),
            "method": head.method.as_str(), "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
            "headers": shown(&head.headers), "caller": caller, "request_of_connection": number,
            "body": String::from_utf8_lossy(&sent),
        });
        let text = Bytes::from(format!("{text}\n"));
        let mut response = Response::new(ReplyBody::new(text, manner, in_flight));
        *response.status_mut() = StatusCode::from_u16(fate.status).expect("statuses are checked");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if last && head.version != Version::HTTP_2 {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// A message back, and its status in the trailers: the HTTP of gRPC always goes well. An error has no message.
    fn grpc(
        &self,
        path: &str,
        sent: &Bytes,
        status: u16,
        manner: Manner,
        in_flight: InFlightGuard,
    ) -> Response<ReplyBody> {
        let status = unary::status(status);
        self.upstream.ledger.answered(StatusCode::OK.as_u16());
        let (text, filler) = if status == 0 {
            let message = unary::answer(path, sent, manner.filler);
            (message.text, message.filler)
        } else {
            (Bytes::new(), 0)
        };
        let body = ReplyBody::new(text, Manner { filler, ..manner }, in_flight);
        let mut response = Response::new(body.with_grpc_status(status));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// `x-weft-caller` where a client names itself; its address otherwise.
fn caller(request: &Request<Incoming>, peer: SocketAddr) -> String {
    let named = request
        .headers()
        .get("x-weft-caller")
        .and_then(|value| value.to_str().ok());
    named.map_or_else(|| peer.ip().to_string(), str::to_owned)
}

fn shown(headers: &HeaderMap) -> serde_json::Value {
    let pairs = headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    pairs.collect()
}

/// Reads a body to its end and keeps the beginning.
async fn read(mut body: Incoming) -> Result<Bytes, io::Error> {
    let mut kept = Vec::new();
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        let room = ECHOED_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
    }
    Ok(kept.into())
}
