//! The admin port: the ledger, and the behaviour, which can be changed while requests are in flight.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::answer::Upstream;
use super::behaviour::RawBehaviour;

/// Bytes of a behaviour, at most.
const BEHAVIOUR_BYTES_MAX: usize = 64 * 1024;

/// Answers until it is dropped.
pub(super) async fn serve(upstream: Rc<Upstream>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let upstream = upstream.clone();
        let service = service_fn(move |request| {
            let upstream = upstream.clone();
            async move { Ok::<_, Infallible>(answer(&upstream, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        // A client of the admin port that leaves early has its reasons.
        tokio::task::spawn_local(async move { drop(connection.await) });
    }
}

async fn answer(upstream: &Upstream, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/ledger") => reply(StatusCode::OK, upstream.ledger.json().to_string()),
        (&Method::POST, "/ledger/clear") => {
            upstream.ledger.clear();
            reply(StatusCode::OK, upstream.ledger.json().to_string())
        }
        (&Method::GET, "/behaviour") => shown(upstream),
        (&Method::PUT | &Method::POST, "/behaviour") => match change(upstream, request).await {
            Ok(()) => shown(upstream),
            Err(problem) => reply(
                StatusCode::BAD_REQUEST,
                serde_json::json!({"error": problem}).to_string(),
            ),
        },
        (_, "/ledger" | "/ledger/clear" | "/behaviour") => reply(StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => reply(
            StatusCode::NOT_FOUND,
            "GET /ledger, POST /ledger/clear, GET /behaviour, PUT /behaviour\n".to_owned(),
        ),
    }
}

fn shown(upstream: &Upstream) -> Response<Full<Bytes>> {
    let behaviour = upstream.behaviour.borrow().clone();
    let text = serde_json::to_string(&behaviour.raw).expect("a behaviour has nothing that JSON has not");
    reply(StatusCode::OK, text)
}

async fn change(upstream: &Upstream, request: Request<Incoming>) -> Result<(), String> {
    let body = Limited::new(request.into_body(), BEHAVIOUR_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    let raw: RawBehaviour = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if upstream.tcp && !raw.is_of_connections_alone() {
        return Err("an echo of TCP can only refuse".to_owned());
    }
    let behaviour = raw.resolve().map_err(|error| error.to_string())?;
    *upstream.behaviour.borrow_mut() = Rc::new(behaviour);
    upstream.changed.notify_one();
    Ok(())
}

fn reply(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
