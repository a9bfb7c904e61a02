//! The upstream side: cluster, endpoint, socket.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weft_proxy_core::chain::TcpProxy;
use weft_proxy_core::outlier::Event;

use super::tally::Tally;
use crate::http::conn_state::ConnState;
use crate::http::failure::{Failure, RouteFailure};
use crate::upstream::admit::ConnectionPermit;
use crate::upstream::attempt::pick_endpoint;
use crate::upstream::connect::dial;
use crate::upstream::endpoint::ActiveGuard;
use crate::worker::Worker;

/// An open connection to an endpoint.
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    /// To be dropped after the stream: what the connection counts for, at its endpoint and against the limit.
    pub(super) held: Held,
}

/// What a connection counts for, until it is closed.
pub(super) struct Held {
    _active: ActiveGuard,
    _permit: ConnectionPermit,
}

/// Connects to an endpoint of the cluster whose turn it is. Each try picks anew.
///
/// Cancel safe: dropping the future closes the socket.
pub(super) async fn open(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    state: &Arc<ConnState>,
    tally: &mut Tally,
) -> Result<Upstream, Failure> {
    let slot = proxy.choose().slot;
    let cluster = worker
        .with_snapshot(|snapshot| snapshot.cluster(slot).cloned())
        .ok_or(Failure::Route(RouteFailure::NoCluster))?;
    tally.set_destination(&cluster.labels);
    // Nobody waits here: over the limit, the client is told at once.
    let permit = cluster.state.admission.connection()?;
    let mut tries = proxy.connect_attempts_max;
    loop {
        let endpoint = pick_endpoint(worker, &cluster)?;
        tally.set_destination(&endpoint.labels);
        let active = endpoint.start();
        match dial(&cluster, &endpoint).await {
            Ok(stream) => {
                endpoint.observe(Event::ConnectedTcp);
                let held = Held {
                    _active: active,
                    _permit: permit,
                };
                return Ok(Upstream { stream, held });
            }
            Err(failure) => {
                endpoint.counters.failures.increment();
                endpoint.observe(Event::Unreachable);
                tries = tries.saturating_sub(1);
                if tries == 0 || state.is_draining() {
                    return Err(Failure::Upstream(failure));
                }
            }
        }
    }
}
