//! HTTP/1.1 on the application's address.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::LocalSet;

use crate::app::{Application, json, plain};
use crate::pods::Pod;
use crate::{knobs, ledger};

/// Connections at a time; others wait in the accept queue.
const CONNECTIONS_MAX: usize = 512;
/// How long the head of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body of a request: a login form.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Pause after an accept that failed: descriptors in use come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens where the pod's application belongs.
///
/// # Errors
/// If somebody else listens there.
pub async fn bind(pod: Pod) -> io::Result<TcpListener> {
    TcpListener::bind(pod.application()).await
}

/// Answers as the application of `pod`, for ever; it reaches the other services through `http_proxy`. Needs a runtime
/// of one thread.
pub async fn serve(listener: TcpListener, pod: Pod, http_proxy: SocketAddr) {
    let application = Rc::new(Application::new(pod, http_proxy));
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(slot) = slots.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(connection(stream, application.clone(), slot))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    LocalSet::new().run_until(accepting).await;
}

async fn connection(stream: TcpStream, application: Rc<Application>, slot: OwnedSemaphorePermit) {
    // A hint: without it small replies wait for an acknowledgement.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let application = application.clone();
        async move { Ok::<_, Infallible>(answer(&application, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off has its reasons; its sidecar counts them.
    served.await.ok();
    drop(slot);
}

async fn answer(application: &Application, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broke off\n");
    };
    if let Some(reply) = admin(application, &head) {
        return reply;
    }
    let _in_flight = application.ledger.came();
    let delay = application.knobs.delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = match application.knobs.fails() {
        true => plain(StatusCode::INTERNAL_SERVER_ERROR, "told to fail\n"),
        false => application.answer(&head, &body.to_bytes()).await,
    };
    response.headers_mut().insert("x-served-by", application.name());
    response
}

/// What is asked of the application's own knobs and ledger; it does not count as a request.
fn admin(application: &Application, head: &Parts) -> Option<Response<Full<Bytes>>> {
    let path = head.uri.path();
    if path == knobs::PATH {
        let turned = match head.method {
            Method::POST => application.knobs.turn(head.uri.query().unwrap_or_default()),
            _ => Ok(()),
        };
        return Some(match turned {
            Ok(()) => plain(StatusCode::OK, &application.knobs.text()),
            Err(problem) => plain(StatusCode::BAD_REQUEST, &format!("{problem}\n")),
        });
    }
    match path.strip_prefix(ledger::PATH)? {
        "" => {}
        "/clear" if head.method == Method::POST => application.ledger.clear(),
        _ => return None,
    }
    Some(json(&application.ledger.json()))
}
