use http::header::{HOST, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use weft_proxy_core::cluster::Balance;
use weft_proxy_core::route::{Forward, HashKeys, KeyedBy, RequestHead};

use crate::http::conn::ConnContext;
use crate::upstream::attempt::EndpointKeyHash;
use crate::upstream::cluster::Cluster;

/// Gives a request the key by which it chooses an endpoint, if its cluster hashes. Returned are cookies that were made for it.
pub(in crate::http) fn place(
    context: &ConnContext,
    cluster: &Cluster,
    forward: &Forward,
    parts: &mut Parts,
) -> Vec<HeaderValue> {
    if forward.hash.is_empty() || !matches!(cluster.config.balance, Balance::Hash(_)) {
        return Vec::new();
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let by = KeyedBy {
        head: RequestHead {
            method: parts.method.as_str(),
            scheme: context.scheme,
            authority: host.unwrap_or_default(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
        },
        remote: context.origin.source,
        local: context.origin.destination,
    };
    let keys = HashKeys::of(&forward.hash, &by);
    if let Some(hash) = keys.hash {
        parts.extensions.insert(EndpointKeyHash(hash));
    }
    keys.cookies
}

/// Tells the client what leads it to the same endpoint again.
pub(in crate::http) fn remember(cookies: Vec<HeaderValue>, response: &mut HeaderMap) {
    for cookie in cookies {
        response.append(SET_COOKIE, cookie);
    }
}
