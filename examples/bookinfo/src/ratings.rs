//! How many stars each reader gave.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::app::{json, plain, product};

pub(crate) fn answer(head: &Parts) -> Response<Full<Bytes>> {
    match product(head.uri.path(), "/ratings/") {
        Some(id) => json(&json!({ "id": id, "ratings": { "Reader1": 5, "Reader2": 4 } })),
        None => plain(StatusCode::NOT_FOUND, "there is /ratings/ID\n"),
    }
}
