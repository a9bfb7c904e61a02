//! From an accepted stream to the chain that takes it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weft_proxy_core::chain::{FilterChain, Listener, Network};

use super::accepted::Accepted;
use crate::detect::{self, Inspected, Looks, Seen};
use crate::http::conn;
use crate::tcp;
use crate::worker::Worker;

/// Serves one connection that a listener has accepted. `leaving`: the listener has no socket any more, so that the
/// connection ends with its first reply.
pub(super) async fn serve(worker: Rc<Worker>, by: Arc<Listener>, stream: TcpStream, leaving: bool) {
    // Replies must not wait for the acknowledgement of the one before; a stream that refuses the option works all the same.
    stream.set_nodelay(true).ok();
    let Ok(mut accepted) = Accepted::new(&worker, by, stream, leaving) else {
        return;
    };
    let looks = Looks::of(&accepted.listener.inspectors, accepted.origin.destination.port());
    let chain = if looks.is_nothing() {
        chain(&accepted, &Seen::default())
    } else {
        // Boxed: connections that need no look do not carry its size.
        match Box::pin(detect::inspect(&worker, &mut accepted, looks)).await {
            Inspected::As(seen) => {
                accepted.origin.spoken = seen.spoken;
                chain(&accepted, &seen)
            }
            Inspected::Opened(proxy, opened) => return tcp::relay(worker, proxy, accepted, opened).await,
            Inspected::Ended => return,
        }
    };
    match chain.as_deref().map(|chain| &chain.network) {
        Some(Network::Http(manager)) => conn::serve(worker, manager.clone(), accepted).await,
        Some(Network::Tcp(proxy)) => Box::pin(tcp::serve(worker, proxy.clone(), accepted)).await,
        Some(Network::Close) | None => {}
    }
}

/// The chain of a connection. Whoever dials a listener that takes what was meant for others meets only a chain that names
/// the port: anything else would send the connection round and back to us (Istio: direct traffic to 15001 and 15006 is
/// dropped).
pub(crate) fn chain(accepted: &Accepted, seen: &Seen) -> Option<Arc<FilterChain>> {
    let protocols = seen.application_protocols();
    let chain = accepted
        .listener
        .find_chain(&seen.facts(&accepted.origin, &protocols))?;
    let port = accepted.origin.destination.port();
    (!accepted.is_direct || chain.matcher.destination_port == Some(port)).then(|| chain.clone())
}
