//! in → out: a CONNECT request and its cluster → a connection to an endpoint, copied both ways until both directions have ended.
//! owns: the dial of a tunnel's far end, and its 200.
//! may not touch: what flows in it.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use hyper::upgrade::OnUpgrade;

use super::body::ReplyBody;
use super::conn::ConnContext;
use super::exchange::Exchange;
use super::failure::Failure;
use super::upgrade::relay;
use crate::tcp::{Goal, Reached, reach};
use crate::upstream::cluster::Cluster;

/// Tries to connect: a client's request is the only one, as with Envoy's tunnels.
const ATTEMPTS_MAX: u32 = 1;

/// Connects to an endpoint of the cluster, within its limits.
///
/// Cancel safe: dropping the future closes the socket.
pub(super) async fn open(
    context: &Rc<ConnContext>,
    cluster: Arc<Cluster>,
    exchange: &mut Exchange,
) -> Result<Reached, Failure> {
    let permit = cluster.state.admission.connection()?;
    let goal = Goal {
        cluster,
        permit,
        attempts_max: ATTEMPTS_MAX,
    };
    let state = &context.state;
    reach(&context.worker, goal, &context.origin, state, |labels| {
        exchange.set_destination(labels);
    })
    .await
}

/// Says yes to the client and starts the tunnel. The exchange ends with the tunnel.
pub(super) fn tunnel(
    context: &ConnContext,
    reached: Reached,
    client: OnUpgrade,
    mut exchange: Exchange,
) -> Response<ReplyBody> {
    let response = Response::new(ReplyBody::whole(Bytes::new()));
    exchange.reply(response.status(), response.headers());
    let Reached { stream, held } = reached;
    relay(context, client, async { Some(stream) }, held, exchange);
    response
}
