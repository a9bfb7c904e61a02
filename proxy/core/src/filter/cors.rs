use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::route::{Cors, HeaderKey, RequestHead};

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What a response says to the page of an origin that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsGrant {
    origin: HeaderValue,
    credentials: bool,
    expose: Option<HeaderValue>,
}

impl CorsGrant {
    /// Sets its headers; what the application said about them is overwritten.
    pub fn apply(&self, response: &mut HeaderMap) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.credentials {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// A request of a page of another origin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Crossing {
    /// It goes on; its response says this.
    Granted(CorsGrant),
    /// It only asks whether it may, and is answered with these headers.
    Preflight(HeaderMap),
}

impl Crossing {
    pub(super) fn granted(self) -> Option<CorsGrant> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Preflight(_) => None,
        }
    }
}

impl Cors {
    /// `None`: nothing to do with this policy, or no origin that it allows.
    pub(super) fn cross(&self, head: &RequestHead<'_>, random: u64) -> Option<Crossing> {
        let origin = field(head, ORIGIN)?;
        if !self.enabled.draw(random) {
            return None;
        }
        let allowed = self.allow_origins.iter().any(|one| one.is_match(origin.as_bytes()));
        let grant = allowed.then(|| CorsGrant {
            origin,
            credentials: self.allow_credentials,
            expose: self.expose_headers.clone(),
        });
        let asked = field(head, ACCESS_CONTROL_REQUEST_METHOD).filter(|_| head.method == "OPTIONS");
        match (asked, grant) {
            (None, grant) => grant.map(Crossing::Granted),
            (Some(method), Some(grant)) => Some(Crossing::Preflight(self.permit(&grant, method, head))),
            (Some(_), None) if self.forward_unmatched_preflights => None,
            (Some(_), None) => Some(Crossing::Preflight(HeaderMap::new())),
        }
    }

    /// The answer to a preflight. `*` is an echo of what was asked for, as Envoy has it: browsers do not take the star together
    /// with credentials.
    fn permit(&self, grant: &CorsGrant, method: HeaderValue, head: &RequestHead<'_>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        grant.apply(&mut answer);
        let echo = |value: &HeaderValue, asked: Option<HeaderValue>| match value.as_bytes() {
            b"*" => asked,
            _ => Some(value.clone()),
        };
        let methods = self.allow_methods.as_ref().and_then(|value| echo(value, Some(method)));
        let headers = self.allow_headers.as_ref();
        let asked = || field(head, ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or(HeaderValue::from_static(""));
        let headers = headers.and_then(|value| echo(value, Some(asked())));
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, headers),
            (ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
        ] {
            if let Some(value) = value {
                answer.insert(name, value);
            }
        }
        answer
    }
}

/// A header that is there and says something.
fn field(head: &RequestHead<'_>, name: HeaderName) -> Option<HeaderValue> {
    let value = head.header(&HeaderKey::Name(name))?;
    HeaderValue::from_bytes(&value).ok().filter(|value| !value.is_empty())
}
