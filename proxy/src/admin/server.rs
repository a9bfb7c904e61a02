//! The server: few connections, one page each.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{clusters, config_dump, stats};
use crate::app::Main;

/// Connections to one admin address at a time; a scraper needs one. Further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// A head that takes longer, and an idle connection, are closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed for want of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Which pages an address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All: for loopback.
    Everything,
    /// Metrics and readiness: for the network.
    StatsOnly,
}

type Page = Response<Full<Bytes>>;

/// Serves until the task is dropped.
pub(crate) async fn serve(main: Rc<Main>, listener: TcpListener, scope: Scope) {
    let places = Rc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = listener.accept().await;
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        };
        let (main, places) = (main.clone(), places.clone());
        tokio::task::spawn_local(async move {
            // The semaphore is never closed.
            let Ok(_place) = places.acquire().await else { return };
            serve_connection(main, stream, scope).await;
        });
    }
}

async fn serve_connection(main: Rc<Main>, stream: TcpStream, scope: Scope) {
    let service = service_fn(move |request| {
        let main = main.clone();
        async move { Ok::<_, Infallible>(answer(&main, &request, scope).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "admin connection ended");
    }
}

async fn answer(main: &Rc<Main>, request: &Request<Incoming>, scope: Scope) -> Page {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET and HEAD\n".into(),
        );
    }
    match (request.uri().path(), scope) {
        ("/ready" | "/healthz/ready", _) => ready(main),
        ("/stats/prometheus" | "/metrics", _) => metrics(main, request).await,
        ("/config_dump", Scope::Everything) => json(&config_dump::dump(main)),
        ("/clusters", Scope::Everything) if request.uri().query() == Some("format=json") => json(&clusters::json(main)),
        ("/clusters", Scope::Everything) => page(StatusCode::OK, "text/plain", clusters::text(main).into()),
        ("/listeners", Scope::Everything) => json(&config_dump::listeners(main)),
        ("/", Scope::Everything) => page(StatusCode::OK, "text/plain", PAGES.into()),
        _ => page(
            StatusCode::NOT_FOUND,
            "text/plain",
            "no such page; / lists them\n".into(),
        ),
    }
}

const PAGES: &str = "/ready\n/stats/prometheus\n/config_dump\n/clusters\n/clusters?format=json\n/listeners\n";

fn ready(main: &Main) -> Page {
    if main.is_ready() {
        return page(StatusCode::OK, "text/plain", "LIVE\n".into());
    }
    let status = main.xds.borrow();
    let mut text = "NOT READY\n".to_owned();
    if !status.is_ready() {
        text.push_str("waiting for the control plane");
        if !status.last_error.is_empty() {
            text.push_str(": ");
            text.push_str(&status.last_error);
        }
        text.push('\n');
    }
    let (listeners, snapshot) = (main.listeners.borrow(), main.shared.snapshot.load());
    let failed: BTreeMap<_, _> = listeners.failed().collect();
    for name in listeners.unbound(&snapshot) {
        let reason = failed.get(name).map_or("has no socket yet", |reason| reason.as_str());
        text.push_str(&format!("listener {name}: {reason}\n"));
    }
    page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", text.into())
}

async fn metrics(main: &Rc<Main>, request: &Request<Incoming>) -> Page {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (main, format) = (main.clone(), stats::Format::asked_for(accept));
    // A task of its own: a scraper that leaves before its page is ready must not take with it what the workers handed over.
    let rendered = tokio::task::spawn_local(async move { stats::render(&main, format).await });
    match rendered.await {
        Ok((content_type, body)) => page(StatusCode::OK, content_type, body.into()),
        Err(error) => page(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            format!("{error}\n").into(),
        ),
    }
}

fn json(value: &serde_json::Value) -> Page {
    page(StatusCode::OK, "application/json", format!("{value:#}\n").into())
}

fn page(status: StatusCode, content_type: &'static str, body: Bytes) -> Page {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
