//! One application: what it is, and the replies that all of them make.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::knobs::Knobs;
use crate::ledger::Ledger;
use crate::pods::{App, Pod};
use crate::upstream::Mesh;
use crate::{details, productpage, ratings, reviews};

pub(crate) struct Application {
    pub(crate) pod: Pod,
    pub(crate) mesh: Mesh,
    pub(crate) knobs: Knobs,
    pub(crate) ledger: Ledger,
}

impl Application {
    pub(crate) fn new(pod: Pod, http_proxy: SocketAddr) -> Self {
        Self {
            pod,
            mesh: Mesh::through(http_proxy),
            knobs: Knobs::default(),
            ledger: Ledger::default(),
        }
    }

    pub(crate) fn name(&self) -> HeaderValue {
        HeaderValue::from_static(self.pod.name)
    }

    pub(crate) async fn answer(&self, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
        if head.uri.path() == "/health" {
            return plain(StatusCode::OK, "healthy\n");
        }
        match self.pod.app {
            App::Productpage => productpage::answer(self, head, body).await,
            App::Details => details::answer(head),
            App::Reviews(stars) => reviews::answer(self, stars, head).await,
            App::Ratings => ratings::answer(head),
        }
    }
}

pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

pub(crate) fn json(value: &Value) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, "application/json", value.to_string())
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The number behind `prefix`, if that is all there is.
pub(crate) fn product(path: &str, prefix: &str) -> Option<u32> {
    path.strip_prefix(prefix)?.parse().ok()
}
