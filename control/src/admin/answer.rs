//! Which path says what.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

use crate::status::Board;
use crate::telemetry::{Metrics, render};
use crate::world::World;

/// What the admin port can tell about.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Objects and proxies.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The newest world.
    pub worlds: watch::Receiver<Arc<World>>,
}

/// An answer: status, content type, body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

const PATHS: &str = "/ready          200 once the configuration has been read
/metrics        Prometheus metrics
/debug/objects  every object: what became of it, findings, on which proxies it is live
/debug/syncz    every connected proxy: what it has acknowledged, what it refuses
";

/// Answers a request by its method and path.
pub(super) fn answer(method: &Method, path: &str, sources: &Sources) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
    }
    match path {
        "/" | "/help" => text(StatusCode::OK, PATHS.to_owned()),
        // World 0 is the one before the first full read: nothing is served from it.
        "/ready" => match sources.worlds.borrow().generation {
            0 => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the configuration has not been read yet\n".to_owned(),
            ),
            _ => text(StatusCode::OK, "ready\n".to_owned()),
        },
        "/metrics" => Answer {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: render(&sources.metrics, &sources.board.summary()),
        },
        "/debug/objects" => json(&sources.board.objects()),
        "/debug/syncz" => json(&sources.board.proxies()),
        _ => text(
            StatusCode::NOT_FOUND,
            format!("nothing is served here; there is\n{PATHS}"),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    }
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string_pretty(value) {
        Ok(body) => Answer {
            status: StatusCode::OK,
            content_type: "application/json",
            body: body + "\n",
        },
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot be written as JSON: {error}\n"),
        ),
    }
}
