use std::net::SocketAddr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use twox_hash::XxHash64;

use super::head::{HeaderKey, RequestHead};
use super::policy::HashKey;

/// What the keys of a route make of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HashKeys {
    /// The key; `None` where the request has none.
    pub hash: Option<u64>,
    /// Cookies that were made for it: values of `set-cookie`.
    pub cookies: Vec<HeaderValue>,
}

/// What keys are taken from.
#[derive(Debug, Clone, Copy)]
pub struct KeyedBy<'a> {
    /// The request as its destination sees it.
    pub head: RequestHead<'a>,
    /// The client.
    pub remote: SocketAddr,
    /// Our end of its connection.
    pub local: SocketAddr,
}

impl HashKeys {
    /// All keys that are there, joined (Envoy: `HashPolicyImpl::generateHash`): each turns the ones before by a bit, so that equal
    /// ones do not cancel each other.
    pub fn of(keys: &[HashKey], by: &KeyedBy<'_>) -> Self {
        let mut all = Self::default();
        for key in keys {
            let hash = match key {
                HashKey::Header(name) => of_header(name, by),
                HashKey::SourceIp => Some(xxhash(by.remote.ip().to_string().as_bytes())),
                HashKey::Query(name) => by.head.query.and_then(|query| parameter(query, name)).map(xxhash),
                HashKey::Cookie { name, .. } => match cookie(by.head.headers, name) {
                    Some(value) => Some(xxhash(value)),
                    None => all.make_cookie(key, by),
                },
            };
            if let Some(hash) = hash {
                all.hash = Some(all.hash.map_or(0, |before| before.rotate_left(1)) ^ hash);
            }
        }
        all
    }

    /// The value is the same for all requests of a connection, so that those that race are not sent to different places.
    fn make_cookie(&mut self, key: &HashKey, by: &KeyedBy<'_>) -> Option<u64> {
        let HashKey::Cookie {
            name,
            path,
            ttl: Some(ttl),
            attributes,
        } = key
        else {
            return None;
        };
        let connection = format!("{}{}", by.remote, by.local);
        let value = format!("{:016x}", xxhash(connection.as_bytes()));
        let mut cookie = format!("{name}=\"{value}\"");
        if ttl.as_secs() > 0 {
            cookie.push_str(&format!("; Max-Age={}", ttl.as_secs()));
        }
        if !path.is_empty() {
            cookie.push_str(&format!("; Path={path}"));
        }
        attributes
            .iter()
            .for_each(|attribute| cookie.push_str(&format!("; {attribute}")));
        cookie.push_str("; HttpOnly");
        self.cookies.extend(HeaderValue::try_from(cookie));
        Some(xxhash(value.as_bytes()))
    }
}

fn xxhash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// All lines of the header, in an order that does not depend on that of the request.
fn of_header(name: &HeaderKey, by: &KeyedBy<'_>) -> Option<u64> {
    let HeaderKey::Name(name) = name else {
        return by.head.header(name).map(|value| xxhash(&value));
    };
    let mut lines: Vec<&[u8]> = by
        .head
        .headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    lines.sort_unstable();
    let joined = lines.iter().fold(0, |seed, line| XxHash64::oneshot(seed, line));
    (!lines.is_empty()).then_some(joined)
}

/// First value, as it stands in the query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a [u8]> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value.as_bytes())
    })
}

/// The value of a cookie that has one, without quotes around it.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).map(str::trim_start);
    let value = pairs
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?
        .1;
    let value = value.trim_end();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(bare.unwrap_or(value).as_bytes()).filter(|value| !value.is_empty())
}
