//! in → out: a request head as the parser gave it → one with a single valid authority and a normalised path, or a failure.
//! owns: what must hold of a head before a route is looked for (RFC 9112, sections 2 and 3).
//! may not touch: routes.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};
use weft_proxy_core::chain::HttpConnectionManager;
use weft_proxy_core::route::{Normalized, PathError};

use super::failure::RequestFailure;
use super::guard::Refusal;
use super::{relay_headers, upgrade};

/// What the check found besides failures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Go on.
    Forward,
    /// The client is to ask for this path instead (307).
    Redirect(String),
}

/// Makes a head fit to be routed: its URI is in origin form, or has no path for a tunnel, and its `Host` is the authority.
pub(crate) fn check(
    parts: &mut Parts,
    manager: &HttpConnectionManager,
    local_port: u16,
) -> Result<Checked, RequestFailure> {
    if parts.version == Version::HTTP_10 && !manager.http1.accept_http_10 {
        return Err(RequestFailure::Version);
    }
    if parts.version == Version::HTTP_2 {
        check_size(parts, manager)?;
        relay_headers::join_cookies(&mut parts.headers);
    }
    if parts.method == Method::CONNECT {
        return check_connect(parts, manager);
    }
    settle_authority(parts, manager)?;
    strip_authority(parts, manager, local_port);
    normalise_path(parts, manager)
}

/// A tunnel is asked for: the target is a host with its port and nothing else (RFC 9110, section 9.3.6), and there is no
/// body. Only where the listener lets it through.
fn check_connect(parts: &mut Parts, manager: &HttpConnectionManager) -> Result<Checked, RequestFailure> {
    if !upgrade::is_enabled(manager, "connect") {
        return Err(RequestFailure::Method);
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        return Err(RequestFailure::Framing(Refusal::TransferEncoding));
    }
    if parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(RequestFailure::Framing(Refusal::ContentLength));
    }
    let authority = parts.uri.authority().ok_or(RequestFailure::Host)?;
    let is_bare = parts.uri.scheme().is_none() && parts.uri.path_and_query().is_none();
    if !is_bare || authority.port().is_none() || !is_authority(authority.as_str().as_bytes()) {
        return Err(RequestFailure::Host);
    }
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestFailure::Host)?;
    parts.headers.insert(HOST, value);
    Ok(Checked::Forward)
}

/// The limits on a head that HTTP/1 has in front of its parser. Envoy counts names and values.
fn check_size(parts: &Parts, manager: &HttpConnectionManager) -> Result<(), RequestFailure> {
    let fields = parts.headers.iter();
    let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if bytes + target > manager.request_headers_bytes_max as usize
        || parts.headers.len() > manager.request_headers_max as usize
    {
        return Err(RequestFailure::HeadTooLarge);
    }
    Ok(())
}

/// An authority in the request target wins over `Host` (RFC 9112, section 3.2.2).
fn settle_authority(parts: &mut Parts, manager: &HttpConnectionManager) -> Result<(), RequestFailure> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(RequestFailure::Host);
    }
    if let Some(authority) = parts.uri.authority() {
        // A bare authority is a target for CONNECT alone; user information has no place in `Host`.
        if parts.uri.scheme().is_none() {
            return Err(RequestFailure::Path);
        }
        if !is_authority(authority.as_str().as_bytes()) {
            return Err(RequestFailure::Host);
        }
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestFailure::Host)?;
        let path = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.headers.insert(HOST, value);
        parts.uri = Uri::from(path);
        return Ok(());
    }
    match first {
        Some(host) if is_authority(host.as_bytes()) => Ok(()),
        // HTTP/1.0 knows no `Host`.
        None if parts.version == Version::HTTP_10 => match &manager.http1.default_host_for_http_10 {
            Some(host) => {
                let value = HeaderValue::from_str(host).map_err(|_| RequestFailure::Host)?;
                parts.headers.insert(HOST, value);
                Ok(())
            }
            None => Err(RequestFailure::Host),
        },
        _ => Err(RequestFailure::Host),
    }
}

/// An upstream sees the shorter form as well.
fn strip_authority(parts: &mut Parts, manager: &HttpConnectionManager, local_port: u16) {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    if let Some(stripped) = host.and_then(|host| manager.stripped_authority(host, local_port))
        && let Ok(value) = HeaderValue::try_from(stripped)
    {
        parts.headers.insert(HOST, value);
    }
}

/// Characters that may stand in `host[:port]` (RFC 3986, section 3.2 without user information).
fn is_authority(host: &[u8]) -> bool {
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !host.is_empty() && host.iter().all(is_legal)
}

fn normalise_path(parts: &mut Parts, manager: &HttpConnectionManager) -> Result<Checked, RequestFailure> {
    let normalized = match manager.path.apply(parts.uri.path()) {
        Ok(normalized) => normalized,
        Err(PathError::EscapedSlash | PathError::NotAbsolute) => return Err(RequestFailure::Path),
    };
    let with_query = |path: &str, query: Option<&str>| match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    };
    match normalized {
        Normalized::Forward(std::borrow::Cow::Borrowed(_)) => Ok(Checked::Forward),
        Normalized::Forward(std::borrow::Cow::Owned(path)) => {
            set_path(parts, with_query(&path, parts.uri.query())).ok_or(RequestFailure::Path)?;
            Ok(Checked::Forward)
        }
        Normalized::Redirect(path) => Ok(Checked::Redirect(with_query(&path, parts.uri.query()))),
    }
}

/// Replaces path and query; `None` when the text is no request target.
pub(crate) fn set_path(parts: &mut Parts, path_and_query: String) -> Option<()> {
    parts.uri = Uri::from(PathAndQuery::try_from(path_and_query).ok()?);
    Some(())
}

/// The token of an upgrade that the client asks for, lower-cased (RFC 9110, section 7.8).
pub(crate) fn upgrade_token(parts: &Parts) -> Option<String> {
    let token = parts.headers.get(UPGRADE)?.to_str().ok()?;
    let asks = parts.headers.get_all(CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    asks.then(|| token.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_no_blanks_users_or_paths() {
        for (host, legal) in [
            ("a.b:80", true),
            ("[::1]:80", true),
            ("", false),
            ("a b", false),
            ("u@h", false),
            ("a/b", false),
        ] {
            assert_eq!(is_authority(host.as_bytes()), legal, "{host}");
        }
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let parts = |connection: &str, upgrade: Option<&str>| {
            let mut request = http::Request::builder().header(CONNECTION, connection);
            if let Some(upgrade) = upgrade {
                request = request.header(UPGRADE, upgrade);
            }
            request.body(()).unwrap().into_parts().0
        };
        assert_eq!(
            upgrade_token(&parts("keep-alive, Upgrade", Some("WebSocket"))),
            Some("websocket".to_owned())
        );
        assert_eq!(upgrade_token(&parts("keep-alive", Some("websocket"))), None);
        assert_eq!(upgrade_token(&parts("upgrade", None)), None);
    }
}
