//! in → out: a request and how often it may be tried → the answer of one endpoint, or the failure of the last try.
//! owns: the loop over tries: the time limit of one, whether there is another, the wait before it, what is kept for it.
//! may not touch: how a try is made, what a failure looks like to the client.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use weft_proxy_core::retry::{Break, Decision, Outcome, applies, backoff, decide, follows_sending};
use weft_proxy_core::route::{Forward, RequestHead, RetryPolicy};

use super::attempt::{self, Answer, Hold};
use super::cluster::Cluster;
use super::counters::Counter;
use super::observe::observe;
use super::tries::Tries;
use crate::http::body::RequestBody;
use crate::http::deadline::Deadline;
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, RouteFailure, UpstreamFailure};
use crate::http::flags::Flag;
use crate::http::relay_headers::X_ENVOY_ATTEMPT_COUNT;
use crate::http::replay::Replay;
use crate::worker::Worker;

/// A response that makes way for a retry is read up to so many bytes, so that its connection can be used again.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
/// It has so long to arrive.
const DISCARDED_TIME_MAX: Duration = Duration::from_secs(1);

/// What is counted about the retries of a cluster.
#[derive(Debug, Default)]
pub(crate) struct RetryCounters {
    /// Retries that were made.
    pub(crate) made: Counter,
    /// Requests whose answer after a retry was not to be retried.
    pub(crate) successes: Counter,
    /// Requests that were tried as often as they may be.
    pub(crate) exhausted: Counter,
    /// Tries that took longer than one may.
    pub(crate) try_timeouts: Counter,
}

/// Sends the request in `slot`, again and again if its policy says so.
///
/// Cancel safe in the sense of a time limit: dropping the future ends the try that is under way and makes no other.
pub(crate) async fn send(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    forward: &Forward,
    slot: &mut Option<Request<RequestBody>>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    let Some(request) = slot.as_ref() else {
        return Err(Failure::Upstream(UpstreamFailure::Stale));
    };
    // Nearly no policy asks for headers of the request; one without attempts decides against each.
    let asks = |policy: &&RetryPolicy| policy.request_headers.is_empty() || applies(policy, &head_of(request));
    let policy = forward.retry.as_ref().filter(asks);
    let mut tries = Tries::new(request, policy, exchange.original_destination());
    let replay = policy
        .filter(|policy| follows_sending(policy, exchange.is_grpc(), tries.version == Version::HTTP_2))
        .and_then(|_| slot.take())
        .map(|request| {
            let (replay, request) = Replay::keep(request, &worker.replay);
            *slot = Some(request);
            // Boxed: few requests have one.
            Box::new(replay)
        });
    let limit = forward.retry.as_ref().and_then(try_limit);
    let counters = &cluster.state.retries;
    let mut retries = 0;
    let mut permit = None;
    loop {
        let tried = try_once(worker, cluster, limit, slot, &tries, exchange).await;
        observe(&tried, exchange);
        let Some(policy) = policy else { return tried };
        let decision = judge(policy, retries, &tried, slot.is_some(), exchange);
        let Decision::Retry { number } = decision else {
            count_end(&decision, retries, &tried, counters, exchange);
            return tried;
        };
        if slot.is_none() && !replay.as_ref().is_some_and(|replay| replay.is_whole()) {
            // Too much of it is gone to be sent again.
            return tried;
        }
        // What the retry before this one held is free first: at a limit of one a request can be retried more than once.
        drop(permit.take());
        permit = cluster.state.admission.retry(&cluster.config.limits);
        if permit.is_none() {
            exchange.raise(Flag::Uo);
            return tried;
        }
        // Before the wait: the try before gets nothing more of the body from here on.
        *slot = slot
            .take()
            .or_else(|| replay.as_ref().and_then(|replay| replay.again()));
        let Some(request) = slot.as_mut() else { return tried };
        if forward.attempt_count {
            let count = HeaderValue::from(number.saturating_add(1));
            request.headers_mut().insert(X_ENVOY_ATTEMPT_COUNT, count);
        }
        if let Some(endpoint) = exchange.endpoint() {
            tries.add(cluster, endpoint);
        }
        discard(tried, exchange);
        exchange.clear_active();
        counters.made.increment();
        retries = number;
        tokio::time::sleep(backoff(policy, number, worker.random())).await;
    }
}

/// Counts how a request ended that is not tried again.
fn count_end(
    decision: &Decision,
    retries: u32,
    tried: &Result<Answer, Failure>,
    counters: &RetryCounters,
    exchange: &mut Exchange,
) {
    if *decision == Decision::Exhausted {
        counters.exhausted.increment();
        exchange.raise(Flag::Urx);
    } else if retries > 0 && tried.is_ok() {
        counters.successes.increment();
    }
}

/// Sends a request that is never sent again.
///
/// Cancel safe as [`send`] is.
pub(crate) async fn send_once(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    request: Request<RequestBody>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    let tries = Tries::new(&request, None, exchange.original_destination());
    let tried = try_once(worker, cluster, None, &mut Some(request), &tries, exchange).await;
    observe(&tried, exchange);
    tried
}

fn head_of(request: &Request<RequestBody>) -> RequestHead<'_> {
    let host = request.headers().get(HOST);
    RequestHead {
        method: request.method().as_str(),
        scheme: "http",
        authority: host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
    }
}

/// The limit of a try up to the head of its response. Until that comes nothing but silence is to be had, so that the limit
/// of silence is one of waiting.
fn try_limit(policy: &RetryPolicy) -> Option<Duration> {
    match (policy.per_try_timeout, policy.per_try_idle_timeout) {
        (Some(whole), Some(idle)) => Some(whole.min(idle)),
        (whole, idle) => whole.or(idle),
    }
}

/// One try. Its request stays in `slot` for as long as nothing of it has left.
async fn try_once(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    limit: Option<Duration>,
    slot: &mut Option<Request<RequestBody>>,
    tries: &Tries<'_>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    let deadline = limit.map(|limit| Deadline::new(limit, exchange.upload().cloned()));
    // Pinned here: awaited in two places it would take its room twice.
    let mut sent = pin!(attempt::send(worker, cluster, slot, tries, exchange));
    let Some(deadline) = deadline else { return sent.await };
    // Cancel safe: what has been sent is lost with its connection. Biased, so that an answer that is there counts even when
    // the limit ends in the same turn.
    tokio::select! {
        biased;
        tried = &mut sent => tried,
        () = deadline => {
            cluster.state.retries.try_timeouts.increment();
            Err(Failure::Route(RouteFailure::TryTimeout))
        }
    }
}

fn judge(
    policy: &RetryPolicy,
    retries: u32,
    tried: &Result<Answer, Failure>,
    unsent: bool,
    exchange: &Exchange,
) -> Decision {
    let outcome = match tried {
        Ok(answer) => Outcome::Response {
            status: answer.response.status(),
            headers: answer.response.headers(),
        },
        // What the client broke off cannot be sent again.
        Err(_) if exchange.upload_failed() => return Decision::Final,
        Err(failure) => match break_of(*failure, unsent) {
            Some(cause) => Outcome::Break(cause),
            None => return Decision::Final,
        },
    };
    decide(policy, retries, outcome)
}

/// Why there was no response; `None` when no try can help. `unsent`: nothing of the request has left.
fn break_of(failure: Failure, unsent: bool) -> Option<Break> {
    let cause = failure.verdict().retry?;
    Some(match (cause, unsent) {
        (Break::Reset, true) => Break::ResetBeforeRequest,
        (Break::TryTimeout, true) => Break::TryTimeoutBeforeRequest,
        (cause, _) => cause,
    })
}

/// Lets go of a response that nobody gets. Its connection is used again if the rest of it comes soon and is short.
fn discard(tried: Result<Answer, Failure>, exchange: &Exchange) {
    let Ok(Answer { response, hold, .. }) = tried else {
        return;
    };
    match hold {
        Hold::Http1(_) if exchange.is_upload_sent() => {
            tokio::task::spawn_local(drain(response.into_body(), hold));
        }
        // A stream ends by itself; a connection that is still busy with the request has to.
        Hold::Http1(_) | Hold::Http2(_) => {}
    }
}

async fn drain(mut body: Incoming, hold: Hold) {
    let read = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(frame) = body.frame().await {
            let bytes = frame.ok()?.into_data().map_or(0, |data| data.len());
            left = left.checked_sub(bytes)?;
        }
        Some(())
    };
    if let Ok(Some(())) = tokio::time::timeout(DISCARDED_TIME_MAX, read).await {
        hold.complete();
    }
}
