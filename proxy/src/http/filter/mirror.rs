use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use weft_proxy_core::filter::shadow_authority;

use crate::http::body::{RequestBody, Upload};
use crate::http::conn::ConnContext;
use crate::http::copy::Copies;
use crate::http::deadline::Deadline;
use crate::http::exchange::{Exchange, request_head_bytes};
use crate::http::failure::{Failure, RequestFailure, RouteFailure, UpstreamFailure};
use crate::http::finish::stream;
use crate::http::relay_headers;
use crate::http::replay::copy_of;
use crate::upstream::attempts;
use crate::upstream::cluster::Cluster;
use crate::upstream::observe::observe_timeout;
use crate::worker::Worker;

/// Copies that a worker may have under way; nobody waits for them, so nothing else bounds those to a cluster that hangs.
const MIRRORS_MAX: usize = 1024;
/// Where the route has no time limit: how long after the end of a request the answer to its copy is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Who else gets a request.
#[derive(Debug)]
pub(in crate::http) struct Mirroring {
    pub(in crate::http) cluster: Arc<Cluster>,
    pub(in crate::http) keep_authority: bool,
}

/// Begins to send copies of a request that is about to be sent, as its destination is to see it. They are tasks of their own,
/// and the request goes on whatever becomes of them.
pub(in crate::http) fn copy(
    context: &ConnContext,
    mirrors: &[Mirroring],
    parts: &Parts,
    body: Option<&Incoming>,
    limit: Option<Duration>,
    is_grpc: bool,
) -> Copies {
    let mut copies = Copies::default();
    for Mirroring {
        cluster,
        keep_authority,
    } in mirrors
    {
        let counters = &cluster.state.mirrors;
        let Some(running) = Running::begin(&context.worker) else {
            counters.abandoned.increment();
            continue;
        };
        counters.begun.increment();
        let (body, upload) = match body.filter(|body| !body.is_end_stream()) {
            None => (RequestBody::Empty, None),
            Some(like) => {
                let (body, upload) = copies.begin(like, &context.worker.copies, counters);
                (RequestBody::Copy(body), Some(upload))
            }
        };
        let mut request = Request::from_parts(copy_of(parts), body);
        *request.version_mut() = cluster.version(match context.state.has_streams() {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        });
        if !keep_authority {
            shadow(request.headers_mut());
        }
        relay_headers::frame(&mut request);
        let head_bytes = request_head_bytes(&parts.method, &parts.uri, request.headers());
        let mut exchange = Exchange::begin_copy(context, head_bytes);
        exchange.set_destination(&cluster.labels);
        if is_grpc {
            exchange.set_grpc();
        }
        let deadline = Deadline::new(limit.unwrap_or(ANSWER_TIME_MAX), upload.clone());
        upload
            .into_iter()
            .for_each(|upload: Arc<Upload>| exchange.set_upload(upload));
        tokio::task::spawn_local(run(running, cluster.clone(), request, exchange, deadline));
    }
    copies
}

/// What asks for it is told from the original by its host.
fn shadow(headers: &mut HeaderMap) {
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok());
    if let Some(host) = authority.and_then(|text| HeaderValue::try_from(shadow_authority(text)).ok()) {
        headers.insert(HOST, host);
    }
}

/// Sends one copy and reads its answer, which goes nowhere.
async fn run(
    running: Running,
    cluster: Arc<Cluster>,
    request: Request<RequestBody>,
    mut exchange: Exchange,
    mut deadline: Deadline,
) {
    let sent = attempts::send_once(&running.worker, &cluster, request, &mut exchange);
    // Cancel safe: what has been sent is lost with its connection. Biased, so that an answer that is there counts.
    let answered = tokio::select! {
        biased;
        answered = sent => answered,
        () = &mut deadline => Err(Failure::Route(RouteFailure::Timeout)),
    };
    let failure = match answered {
        Ok(answer) if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            let mut body = stream(answer, exchange, Some(deadline)).into_body();
            while let Some(Ok(_)) = body.frame().await {}
            return;
        }
        Ok(_) => Failure::Upstream(UpstreamFailure::Protocol),
        Err(_) if exchange.upload_failed() => Failure::Request(RequestFailure::Left),
        Err(failure) => failure,
    };
    if failure == Failure::Route(RouteFailure::Timeout) {
        observe_timeout(&exchange);
    }
    if failure != Failure::Request(RequestFailure::Left) {
        exchange.reply(failure.verdict().status, &HeaderMap::new());
    }
    exchange.fail(failure);
}

/// One of the copies that a worker has under way.
struct Running {
    worker: Rc<Worker>,
    count: Rc<Cell<usize>>,
}

impl Running {
    fn begin(worker: &Rc<Worker>) -> Option<Self> {
        let count = worker.mirrors.clone();
        (count.get() < MIRRORS_MAX).then(|| {
            count.set(count.get() + 1);
            Self {
                worker: worker.clone(),
                count,
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}
