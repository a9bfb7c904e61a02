//! in → out: what became of a try → the health of the endpoint that it went to.
//! owns: which outcomes are events; the live records of outlier detection and what is counted of it.
//! may not touch: the detectors' arithmetic, picking, what the client gets.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::StatusCode;
use tokio::time::Instant;
use weft_proxy_core::cluster::OutlierDetection;
use weft_proxy_core::outlier::{Cause, ClusterHealth, Detection, EndpointHealth, Event, Verdict};
use weft_proxy_core::retry::{grpc_status, http_of_grpc};

use super::attempt::Answer;
use super::counters::Counter;
use super::endpoint::EndpointState;
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, RouteFailure};

/// Every cause, in the order in which they are shown.
pub(crate) const CAUSES: [Cause; 3] = [Cause::ServerError, Cause::Gateway, Cause::LocalOrigin];

/// A count for each cause.
#[derive(Debug, Default)]
pub(crate) struct ByCause([Counter; 3]);

impl ByCause {
    pub(crate) fn of(&self, cause: Cause) -> &Counter {
        match cause {
            Cause::ServerError => &self.0[0],
            Cause::Gateway => &self.0[1],
            Cause::LocalOrigin => &self.0[2],
        }
    }

    /// All causes together.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Outlier detection of a cluster: shared by its endpoints and all workers, kept over snapshots.
#[derive(Debug)]
pub(crate) struct OutlierState {
    cluster: Arc<str>,
    /// The newest settings, `None` when detection is off. They count also for requests that came under older ones: whoever
    /// turns detection off is not to see another ejection.
    detection: ArcSwapOption<OutlierDetection>,
    /// How many endpoints there are and how many of them are out.
    pub(crate) health: ClusterHealth,
    /// Where its times begin.
    pub(crate) started: Instant,
    /// Runs of errors that were complete, whether the endpoint was ejected or not.
    pub(crate) detected: ByCause,
    /// Ejections.
    pub(crate) enforced: ByCause,
    /// Ejections that the cap did not allow.
    pub(crate) overflow: Counter,
}

impl OutlierState {
    pub(crate) fn new(cluster: Arc<str>, detection: Option<&OutlierDetection>) -> Arc<Self> {
        let state = Self {
            cluster,
            detection: ArcSwapOption::empty(),
            health: ClusterHealth::default(),
            started: Instant::now(),
            detected: ByCause::default(),
            enforced: ByCause::default(),
            overflow: Counter::default(),
        };
        state.set_detection(detection);
        Arc::new(state)
    }

    /// Takes new settings. Who is out stays out by the new times.
    pub(crate) fn set_detection(&self, detection: Option<&OutlierDetection>) {
        self.detection.store(detection.map(|detection| Arc::new(*detection)));
    }

    /// The settings of now.
    pub(crate) fn detection(&self) -> Option<OutlierDetection> {
        self.detection.load().as_deref().copied()
    }

    /// Looks at every endpoint once: who has been out for long enough comes back. Without detection all do.
    pub(crate) fn sweep(&self, endpoints: &[Arc<EndpointState>]) {
        let (detection, now) = (self.detection(), self.now());
        for endpoint in endpoints {
            let health = &endpoint.record.health;
            let is_back = match &detection {
                Some(detection) => health.sweep(detection, &self.health, now),
                None => health.restore(&self.health),
            };
            if is_back {
                tracing::info!(cluster = %self.cluster, endpoint = %endpoint.address, "endpoint is back");
            }
        }
    }

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.started)
    }

    fn count(&self, endpoint: &EndpointState, detection: Detection) {
        let Detection { cause, verdict } = detection;
        self.detected.of(cause).increment();
        match verdict {
            Verdict::Overflow => self.overflow.increment(),
            Verdict::Ejected(time) => {
                self.enforced.of(cause).increment();
                endpoint.record.ejections.of(cause).increment();
                // One line for an ejection, which is no more frequent than its least time.
                tracing::info!(
                    cluster = %self.cluster, endpoint = %endpoint.address, cause = cause.as_str(), ?time, "endpoint is out"
                );
            }
        }
    }
}

/// Outlier detection of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointRecord {
    pub(crate) health: EndpointHealth,
    pub(crate) ejections: ByCause,
}

impl EndpointState {
    /// Takes note of what became of a try that went to this endpoint.
    pub(crate) fn observe(&self, event: Event) {
        let outliers = &self.outliers;
        let detection = outliers.detection.load();
        let Some(detection) = detection.as_deref() else { return };
        let found = self
            .record
            .health
            .on_event(detection, &outliers.health, event, || outliers.now());
        for detection in found.into_iter().flatten() {
            outliers.count(self, detection);
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.record.health.is_ejected()
    }
}

/// Takes note of what became of a try. What says nothing about an endpoint, or met none, is no event.
pub(super) fn observe(tried: &Result<Answer, Failure>, exchange: &Exchange) {
    match tried {
        Ok(answer) => {
            let (status, headers) = (answer.response.status(), answer.response.headers());
            answer
                .endpoint
                .observe(Event::Response(meaning(status, headers, exchange.is_grpc())));
        }
        Err(failure) => {
            let endpoint = match failure {
                Failure::Route(_) => exchange.asked_endpoint(),
                _ => exchange.endpoint(),
            };
            // A body that the client broke off fails the try at whatever endpoint it is on.
            if let (Some(event), Some(endpoint), false) = (event_of(*failure), endpoint, exchange.upload_failed()) {
                endpoint.observe(event);
            }
        }
    }
}

/// The time limit of the route has passed. Whoever is waited for has not answered in time.
pub(crate) fn observe_timeout(exchange: &Exchange) {
    if let Some(endpoint) = exchange.asked_endpoint() {
        endpoint.observe(Event::Timeout);
    }
}

/// The status that counts: a gRPC call that fails at once says so in its headers, under 200.
fn meaning(status: StatusCode, headers: &HeaderMap, is_grpc: bool) -> StatusCode {
    match is_grpc.then(|| grpc_status(headers)).flatten() {
        Some(grpc) => http_of_grpc(grpc),
        None => status,
    }
}

fn event_of(failure: Failure) -> Option<Event> {
    match failure {
        Failure::Upstream(_) => Some(Event::Unreachable),
        Failure::Route(RouteFailure::TryTimeout | RouteFailure::Timeout) => Some(Event::Timeout),
        // The proxy's own replies: no endpoint had a part in them.
        Failure::Route(
            RouteFailure::NoTable | RouteFailure::NotFound | RouteFailure::NoCluster | RouteFailure::NoEndpoint,
        )
        | Failure::Request(_)
        | Failure::Fault { .. }
        | Failure::Overflow(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_status_of_a_call_is_what_its_headers_say() {
        for (is_grpc, grpc, status, expected) in [
            (true, Some("14"), 200, 503),
            (true, Some("4"), 200, 504),
            (true, Some("13"), 200, 500),
            (true, Some("2"), 200, 500),
            (true, Some("0"), 200, 200),
            (true, None, 503, 503),
            (false, Some("14"), 200, 200),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(grpc) = grpc {
                headers.insert("grpc-status", HeaderValue::from_static(grpc));
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                meaning(status, &headers, is_grpc),
                expected,
                "{is_grpc} {grpc:?} {status}"
            );
        }
    }
}
