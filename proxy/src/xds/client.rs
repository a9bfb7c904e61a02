//! The stream to the control plane: connect, state what is held, apply, answer, and come back when it breaks.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status as GrpcStatus;
use tonic::transport::{Channel, Endpoint};
use weft_xds::TypeUrl;
use weft_xds::delta::client::{Client, Update};
use weft_xds::pb::ads_client::AggregatedDiscoveryServiceClient;
use weft_xds::pb::core::Node;
use weft_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::accepted::Accepted;
use super::backoff::{Backoff, PROVEN};
use super::saver::Saver;
use super::state_file::StateFile;
use super::{Sink, Status};

/// Limit on connecting to the control plane.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is probed after this time.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// A probe that is not answered in this time ends the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response that is taken.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Requests that wait for the transport to take them.
const REQUESTS_QUEUED_MAX: usize = 16;
/// Transport that does not take a request within this time is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// What the stream needs to know, once.
#[derive(Debug)]
pub struct Settings {
    /// `host:port` of the control plane, plain text.
    pub server: String,
    /// Who this proxy is.
    pub node: Node,
    /// Where accepted resources are kept; nowhere if absent.
    pub state_dir: Option<PathBuf>,
    /// Source of the jitter between attempts.
    pub rng: fastrand::Rng,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("the address is not valid")]
    Address(#[source] tonic::transport::Error),
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("the control plane ended the stream: {0}")]
    Refused(GrpcStatus),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("the connection takes no requests")]
    Stuck,
}

/// Runs until `shutdown` becomes true or its sender is gone. Loads what an earlier run left, connects, and connects
/// again whenever the stream breaks. A last save is done before it returns.
pub async fn run<S: Sink>(
    settings: Settings,
    sink: S,
    status: watch::Sender<Status>,
    mut shutdown: watch::Receiver<bool>,
) {
    let file = settings
        .state_dir
        .as_ref()
        .map(|dir| StateFile::new(dir, &settings.node.id));
    let mut session = Session {
        client: Client::new(settings.node, &[TypeUrl::Cluster, TypeUrl::Listener]),
        sink,
        status,
        accepted: Accepted::new(file.is_some()),
        saver: Saver::new(file),
    };
    session.restore();
    let mut backoff = Backoff::new(settings.rng);
    // Cancel safety: dropping the loop drops a connection; what was applied stays applied and is saved below.
    tokio::select! {
        () = session.serve(&settings.server, &mut backoff) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    session.saver.finish(session.accepted.content()).await;
}

struct Session<S> {
    client: Client,
    sink: S,
    status: watch::Sender<Status>,
    accepted: Accepted,
    saver: Saver,
}

impl<S: Sink> Session<S> {
    /// Enters what an earlier run accepted, in push order.
    fn restore(&mut self) {
        let Some(contents) = self.saver.load() else { return };
        let count = |kind: TypeUrl| contents.get(&kind).map_or(0, Vec::len);
        let (listeners, routes) = (count(TypeUrl::Listener), count(TypeUrl::Route));
        let (clusters, endpoints) = (count(TypeUrl::Cluster), count(TypeUrl::Endpoint));
        for (kind, resources) in contents {
            let update = Update::restored(kind, resources);
            self.apply(&update);
            // There is no stream yet: names are asked for when it opens.
            let requests = self.follow_references();
            debug_assert!(requests.is_empty());
        }
        self.saver.restored();
        self.status.send_modify(|status| status.restored = true);
        let refused = self.status.borrow().rejects;
        tracing::info!(
            listeners,
            routes,
            clusters,
            endpoints,
            refused,
            "restored the state of an earlier run"
        );
    }

    async fn serve(&mut self, server: &str, backoff: &mut Backoff) {
        loop {
            let started = Instant::now();
            let end = self.stream(server).await;
            self.client.disconnect();
            self.saver.finish(self.accepted.content()).await;
            let was_connected = self.status.borrow().connected;
            if was_connected && started.elapsed() >= PROVEN {
                backoff.reset();
            }
            let wait = backoff.next();
            self.log_end(&end, was_connected, wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// One line when a stream is lost or the reason changes, not one for each attempt.
    fn log_end(&self, end: &StreamEnd, was_connected: bool, wait: Duration) {
        let text = chain(end);
        let is_news = was_connected || self.status.borrow().last_error != text;
        if is_news {
            tracing::warn!(reason = %text, "no control plane; keeping what was accepted, next attempt in {wait:?}");
        }
        self.status.send_modify(|status| {
            status.connected = false;
            status.last_error = text;
        });
    }

    async fn stream(&mut self, server: &str) -> StreamEnd {
        match self.converse(server).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn converse(&mut self, server: &str) -> Result<std::convert::Infallible, StreamEnd> {
        let channel = connect(server).await?;
        let (requests, queued) = mpsc::channel(REQUESTS_QUEUED_MAX);
        for request in self.client.connect() {
            send(&requests, request).await?;
        }
        let mut ads = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let opened = ads.delta_aggregated_resources(ReceiverStream::new(queued)).await;
        let mut responses = opened.map_err(StreamEnd::Refused)?.into_inner();
        loop {
            let due = self.saver.due();
            // Cancel safety: `message` keeps a half-read message in the stream; the timer holds nothing.
            let message = tokio::select! {
                message = responses.message() => message,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.saver.poll(self.accepted.content()).await;
                    continue;
                }
            };
            let response = message.map_err(StreamEnd::Refused)?.ok_or(StreamEnd::Closed)?;
            for request in self.take(response) {
                send(&requests, request).await?;
            }
        }
    }

    /// Applies a response. Returns what to say: further names first, so that the control plane knows of them when it
    /// sees the answer.
    fn take(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let update = match self.client.receive(response) {
            Ok(update) => update,
            Err(unknown) => {
                tracing::warn!(%unknown, "ignored");
                return Vec::new();
            }
        };
        let answer = self.apply(&update);
        let mut requests = self.follow_references();
        requests.extend(answer);
        let complete = self.client.is_complete();
        if complete {
            self.saver.whole();
        }
        self.status.send_modify(|status| {
            status.connected = true;
            status.synced |= complete;
            status.updates += 1;
        });
        requests
    }

    /// The one door: sink, bookkeeping, saving.
    fn apply(&mut self, update: &Update) -> Option<DeltaDiscoveryRequest> {
        let rejected = self.sink.apply(update);
        for one in &rejected {
            tracing::warn!(kind = %update.kind, name = %one.name, reason = %one.reason, "resource refused");
        }
        if self.accepted.note(update, &rejected) {
            self.saver.changed();
            self.status
                .send_modify(|status| status.last_update = Some(Instant::now()));
        }
        self.status
            .send_modify(|status| status.rejects += rejected.len() as u64);
        self.client.settle(update, &rejected)
    }

    /// Asks for what accepted resources refer to, and drops what nothing refers to any longer.
    fn follow_references(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        for (from, to) in [
            (TypeUrl::Cluster, TypeUrl::Endpoint),
            (TypeUrl::Listener, TypeUrl::Route),
        ] {
            let (request, dropped) = self.client.subscribe(to, self.accepted.referred(from));
            requests.extend(request);
            if !dropped.is_empty() {
                self.apply(&Update::dropped(to, dropped));
            }
        }
        requests
    }
}

async fn connect(server: &str) -> Result<Channel, StreamEnd> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(StreamEnd::Address)?;
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(StreamEnd::Connect)
}

async fn send(requests: &mpsc::Sender<DeltaDiscoveryRequest>, request: DeltaDiscoveryRequest) -> Result<(), StreamEnd> {
    match timeout(SEND_TIMEOUT, requests.send(request)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(StreamEnd::Closed),
        Err(_) => Err(StreamEnd::Stuck),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
