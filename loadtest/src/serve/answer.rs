//! A request → what the behaviour says becomes of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde_json::json;
use tokio::sync::Notify;

use super::behaviour::Behaviour;
use super::body::ReplyBody;
use super::connection::Connection;
use super::ledger::Ledger;
use crate::{clock, grpc};

/// Bytes of a request's body at the most; more is read and dropped.
const ECHOED_BYTES_MAX: usize = 64 * 1024;

/// What all connections of a scripted upstream share.
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) hostname: String,
    pub(super) started: u64,
    pub(super) behaviour: RefCell<Rc<Behaviour>>,
    /// Told when the behaviour has changed.
    pub(super) changed: Notify,
    pub(super) ledger: Ledger,
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
        let since = std::time::Duration::from_nanos(clock::now() - upstream.started);
        let fate = behaviour.fate(since, &mut upstream.random.borrow_mut());
        let (head, body) = request.into_parts();
        let sent = read(body).await?;
        if !fate.wait.is_zero() {
            tokio::time::sleep(fate.wait).await;
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
        if fate.early_close {
            upstream.ledger.closed_early();
        }
        upstream.ledger.answered(fate.status);
        if head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
        {
            return Ok(of_grpc(
                message(head.uri.path(), sent),
                fate.status,
                ReplyBody::new,
                in_flight,
            ));
        }
        let text = json!({
            "name": upstream.name, "hostname": upstream.hostname, "version": env!("CARGO_PKG_VERSION"),
            "method": head.method.as_str(), "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
            "headers": shown(&head.headers), "caller": caller, "request_of_connection": number,
            "body": String::from_utf8_lossy(&sent),
        });
        let text = Bytes::from(format!("{text}\n"));
        let raw = &behaviour.raw;
        let mut response = Response::new(ReplyBody::new(
            text,
            raw.body_bytes,
            raw.body_rate,
            fate.early_close,
            in_flight,
        ));
        *response.status_mut() = StatusCode::from_u16(fate.status).expect("statuses are checked");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if last && head.version != Version::HTTP_2 {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// The same message back where it is kept whole; a health check is told that all is well.
fn message(path: &str, sent: Bytes) -> Bytes {
    match path {
        grpc::HEALTH_CHECK => grpc::framed(grpc::SERVING),
        _ if sent.len() >= ECHOED_BYTES_MAX => grpc::framed(b""),
        _ => sent,
    }
}

/// The message, and the status in the trailers.
fn of_grpc(
    message: Bytes,
    status: u16,
    body: impl FnOnce(Bytes, usize, u64, bool, super::ledger::InFlightGuard) -> ReplyBody,
    in_flight: super::ledger::InFlightGuard,
) -> Response<ReplyBody> {
    let mut trailers = HeaderMap::new();
    // A status of HTTP that is no success stands for UNAVAILABLE (gRPC, "HTTP to gRPC Status Code Mapping").
    let code = if status == 200 { "0" } else { "14" };
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    let mut response = Response::new(body(message, 0, 0, false, in_flight).with_trailers(trailers));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
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
