//! What is printed on the back of the title page.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::app::{json, plain, product};

pub(crate) fn answer(head: &Parts) -> Response<Full<Bytes>> {
    let Some(id) = product(head.uri.path(), "/details/") else {
        return plain(StatusCode::NOT_FOUND, "there is /details/ID\n");
    };
    json(&json!({
        "id": id,
        "author": "William Shakespeare",
        "first printed": 1623,
        "genre": "Comedy",
        "pages": 160,
        "language": "English",
    }))
}
