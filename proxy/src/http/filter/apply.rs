use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use weft_proxy_core::filter::CorsGrant;

use crate::http::body::ReplyBody;
use crate::http::exchange::Exchange;
use crate::http::flags::Flag;
use crate::http::reply;

/// What is left to be done for a request on its way through the filters.
#[derive(Debug, Default)]
pub(in crate::http) struct Passed {
    pub(in crate::http) delay: Option<Duration>,
    pub(in crate::http) grant: Option<CorsGrant>,
}

/// Holds a request back. The time limits of its route have not begun; a client that leaves ends the wait, and all that it
/// costs is the connection.
pub(in crate::http) async fn hold(delay: Option<Duration>, exchange: &mut Exchange) {
    if let Some(delay) = delay {
        exchange.raise(Flag::Di);
        tokio::time::sleep(delay).await;
    }
}

/// The answer to a preflight.
pub(in crate::http) fn preflight(headers: HeaderMap) -> Response<ReplyBody> {
    let mut response = reply::local(StatusCode::OK, Bytes::new());
    response.headers_mut().extend(headers);
    response
}

/// Tells the page that asked what it may read, whoever answered.
pub(in crate::http) fn cross(grant: Option<CorsGrant>, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if let Some(grant) = grant {
        grant.apply(response.headers_mut());
    }
    response
}
