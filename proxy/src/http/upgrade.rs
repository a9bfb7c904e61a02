//! in → out: an accepted upgrade → two connections copied into each other until both have ended.
//! owns: the tunnel after a 101.
//! may not touch: what flows in it.

use std::future::Future;

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use weft_proxy_core::chain::HttpConnectionManager;

use super::body::ReplyBody;
use super::conn::ConnContext;
use super::exchange::Exchange;
use super::failure::{Failure, RequestFailure};
use crate::upstream::attempt::Answer;

/// Bytes in flight per direction of a tunnel.
const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;

/// Whether the listener lets an upgrade through.
pub(crate) fn is_enabled(manager: &HttpConnectionManager, token: &str) -> bool {
    manager
        .upgrades
        .iter()
        .any(|upgrade| upgrade.enabled && *upgrade.kind == *token)
}

/// Passes a 101 on to the client and starts the tunnel. The exchange ends with the tunnel.
pub(crate) fn tunnel(
    context: &ConnContext,
    answer: Answer,
    client: OnUpgrade,
    mut exchange: Exchange,
) -> Response<ReplyBody> {
    exchange.reply(StatusCode::SWITCHING_PROTOCOLS, answer.response.headers());
    let headers = answer.response.headers().clone();
    let upstream = on(answer.response);
    // The connection goes with the tunnel: its connection is never pooled again, and the endpoint stays busy until the end.
    let upstream = async { upstream.await.ok().map(TokioIo::new) };
    relay(context, client, upstream, answer.hold, exchange);
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

/// Copies between the client and the upstream until both directions have ended, then drops `hold`.
pub(super) fn relay<S, H>(
    context: &ConnContext,
    client: OnUpgrade,
    upstream: impl Future<Output = Option<S>> + 'static,
    hold: H,
    mut exchange: Exchange,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: 'static,
{
    if !context.state.has_streams() {
        context.state.become_tunnel();
    }
    tokio::task::spawn_local(async move {
        let (Ok(client), Some(mut upstream)) = tokio::join!(client, upstream) else {
            return exchange.fail(Failure::Request(RequestFailure::Left));
        };
        let mut client = TokioIo::new(client);
        let copied = tokio::io::copy_bidirectional_with_sizes(
            &mut client,
            &mut upstream,
            TUNNEL_BUFFER_BYTES,
            TUNNEL_BUFFER_BYTES,
        )
        .await;
        drop(upstream);
        drop(hold);
        if let Ok((_sent, received)) = copied {
            exchange.add_response_bytes(received);
        }
        // Either side may end a tunnel at any time, also by a reset: that is no failure.
        exchange.complete();
    });
}
