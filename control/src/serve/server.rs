//! The aggregated discovery service on a socket, with its limits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status, Streaming};
use weft_xds::pb::ads_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};
use weft_xds::pb::core::Node;
use weft_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};

use super::session;
use super::wire::{DeltaWire, SotwWire, Wire};
use crate::cache::Cache;
use crate::generate::ResourceSet;
use crate::scope::ScopeError;
use crate::status::Board;
use crate::telemetry::Metrics;
use crate::world::World;

/// Streams that are served at once; a proxy has one.
const STREAMS_MAX: usize = 20_000;
/// Streams on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 100;
/// Largest request: it states the version of everything that a proxy holds.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Responses of one stream that wait for the transport.
const RESPONSES_QUEUED_MAX: usize = 8;
/// A silent connection is probed after this time.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// A probe that is not answered in this time ends the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams end at a random age within these bounds, so that replicas share the load again without a herd.
const AGE: std::ops::Range<Duration> = Duration::from_secs(30 * 60)..Duration::from_secs(60 * 60);

/// Where resources come from.
pub trait Generate: Send + Sync + 'static {
    /// What a node gets now, and the number of the world that it comes from.
    ///
    /// # Errors
    /// If the node's id says nothing.
    fn resources(&self, node: &Node) -> Result<(Arc<ResourceSet>, u64), ScopeError>;
}

impl Generate for Cache {
    fn resources(&self, node: &Node) -> Result<(Arc<ResourceSet>, u64), ScopeError> {
        Cache::resources(self, node)
    }
}

/// What every stream needs.
#[derive(Debug)]
pub struct Settings<G> {
    /// Where resources come from.
    pub generate: G,
    /// The newest world; nothing is answered while its generation is 0.
    pub worlds: watch::Receiver<Arc<World>>,
    /// Told who is connected, who has acknowledged what, who refuses what.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The service ended, which it does not do by itself.
#[derive(Debug, thiserror::Error)]
#[error("the discovery service ended")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves streams on `listener` until dropped. `rng` spreads the ages of streams.
///
/// # Errors
/// When the transport fails as a whole.
pub async fn serve<G: Generate>(
    listener: TcpListener,
    settings: Settings<G>,
    rng: fastrand::Rng,
) -> Result<(), ServeError> {
    let service = Service {
        settings: Arc::new(settings),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        rng: Mutex::new(rng),
    };
    let service = AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

struct Service<G> {
    settings: Arc<Settings<G>>,
    streams: Arc<Semaphore>,
    rng: Mutex<fastrand::Rng>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl<G: Generate> Service<G> {
    fn open<W: Wire + 'static>(
        &self,
        requests: Streaming<W::Request>,
    ) -> Result<Response<Responses<W::Response>>, Status> {
        let permit = self
            .streams
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("no more streams are served"))?;
        let share = self.rng.lock().unwrap_or_else(PoisonError::into_inner).f64();
        let age = AGE.start + (AGE.end - AGE.start).mul_f64(share);
        let (sender, receiver) = mpsc::channel(RESPONSES_QUEUED_MAX);
        let settings = self.settings.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(status) = session::run::<W, G>(settings, requests, sender.clone(), age).await {
                // A client that has gone hears nothing, which is no error here.
                _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[tonic::async_trait]
impl<G: Generate> AggregatedDiscoveryService for Service<G> {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<SotwWire>(request.into_inner())
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<DeltaWire>(request.into_inner())
    }
}
