//! The two protocols' messages behind one face, so that a session is written once.

use weft_xds::pb::core::Node;
use weft_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use weft_xds::{LimitExceeded, Received, TypeUrl, delta, sotw};

use super::client::{Client, Outgoing, Protocol};

/// Messages of one protocol.
pub(super) trait Wire {
    /// What clients send.
    type Request: Send + 'static;
    /// What they get.
    type Response: Send + 'static;
    /// Which protocol it is.
    const PROTOCOL: Protocol;

    fn node(request: &Self::Request) -> Option<&Node>;
    fn type_url(request: &Self::Request) -> &str;
    fn receive(client: &mut Client, kind: TypeUrl, request: &Self::Request) -> Result<Received, LimitExceeded>;
    fn response(outgoing: &Outgoing, world: u64) -> Self::Response;
}

/// Incremental messages.
pub(super) enum DeltaWire {}

impl Wire for DeltaWire {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Delta;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn receive(client: &mut Client, kind: TypeUrl, request: &Self::Request) -> Result<Received, LimitExceeded> {
        client.receive_delta(kind, request)
    }

    fn response(outgoing: &Outgoing, world: u64) -> Self::Response {
        delta::server::response(outgoing.kind, &outgoing.batch, &world.to_string())
    }
}

/// State-of-the-world messages.
pub(super) enum SotwWire {}

impl Wire for SotwWire {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Sotw;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn receive(client: &mut Client, kind: TypeUrl, request: &Self::Request) -> Result<Received, LimitExceeded> {
        client.receive_sotw(kind, request)
    }

    fn response(outgoing: &Outgoing, _world: u64) -> Self::Response {
        sotw::server::response(outgoing.kind, &outgoing.batch)
    }
}
