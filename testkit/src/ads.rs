//! in → out: a script of discovery messages → an ADS server on loopback, port 0, that says just that.
//! owns: the server side of a delta stream, message by message; a foreign control plane for our proxy.
//! may not touch: what a message means. It keeps no version and no nonce that a test has not given it.

use std::{net::SocketAddr, pin::Pin};

use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};
use weft_xds::{
    Resource, TypeUrl,
    pb::{
        ads_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
        discovery::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Named,
        },
    },
};

use crate::eventually::in_time;

/// Messages that wait for a test or for a client; a test that leaves more behind is wrong.
const QUEUE_MAX: usize = 256;

/// A scripted ADS server; dropping it ends its streams.
#[derive(Debug)]
pub struct AdsServer {
    address: SocketAddr,
    streams: mpsc::Receiver<AdsStream>,
    task: JoinHandle<()>,
}

/// One delta stream of a client.
#[derive(Debug)]
pub struct AdsStream {
    requests: mpsc::Receiver<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl AdsServer {
    /// Starts a server.
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("a literal address")).await
    }

    /// Starts a server where another one has stopped.
    ///
    /// # Panics
    /// Where the address cannot be bound.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|e| panic!("bind {address}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, streams) = mpsc::channel(QUEUE_MAX);
        let service = AggregatedDiscoveryServiceServer::new(Script { streams: sender });
        let task = tokio::spawn(async move {
            let served = tonic::transport::Server::builder().add_service(service);
            // Ends with the test's runtime, or by being aborted; an error is a client that went away.
            let _ = served.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Self { address, streams, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next stream that a client opens.
    pub async fn stream(&mut self) -> AdsStream {
        in_time("a client opens a stream", self.streams.recv())
            .await
            .expect("the server runs")
    }
}

impl Drop for AdsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AdsStream {
    /// The next request of the client; `None` when it has closed the stream.
    pub async fn request(&mut self) -> Option<DeltaDiscoveryRequest> {
        in_time("a request of the client", self.requests.recv()).await
    }

    /// The next request for a type; those for other types are passed over.
    pub async fn request_for(&mut self, kind: TypeUrl) -> DeltaDiscoveryRequest {
        loop {
            let request = self.request().await.expect("the client keeps its stream");
            if request.type_url == kind.as_str() {
                return request;
            }
        }
    }

    /// Sends resources of a type, under a nonce.
    pub async fn send(&self, kind: TypeUrl, nonce: &str, resources: &[Resource], removed: &[&str]) {
        let resources = resources.iter().map(|resource| Named {
            name: resource.name.to_string(),
            version: resource.version.to_string(),
            resource: Some((*resource.body).clone()),
            ..Named::default()
        });
        let response = DeltaDiscoveryResponse {
            type_url: kind.as_str().to_owned(),
            nonce: nonce.to_owned(),
            resources: resources.collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryResponse::default()
        };
        self.responses
            .send(Ok(response))
            .await
            .expect("the client keeps its stream");
    }

    /// Ends the stream with an error.
    pub async fn fail(self, status: Status) {
        // A client that is gone has ended the stream before us.
        let _ = self.responses.send(Err(status)).await;
    }
}

struct Script {
    streams: mpsc::Sender<AdsStream>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("this script speaks delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut incoming = request.into_inner();
        let (to_test, requests) = mpsc::channel(QUEUE_MAX);
        let (responses, to_client) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            while let Some(Ok(request)) = incoming.next().await {
                if to_test.send(request).await.is_err() {
                    return;
                }
            }
        });
        let stream = AdsStream { requests, responses };
        self.streams
            .send(stream)
            .await
            .map_err(|_| Status::unavailable("the script has ended"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(to_client))))
    }
}
