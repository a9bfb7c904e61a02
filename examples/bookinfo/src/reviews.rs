//! What readers say; versions 2 and 3 also ask ratings for stars.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::app::{Application, json, plain, product};
use crate::pods::Stars;
use crate::upstream::passed_on;

/// Who said what.
const REVIEWS: [(&str, &str); 2] = [
    (
        "Reader1",
        "Two pairs of twins, one town, and nobody thinks of asking a name. I laughed on every page.",
    ),
    (
        "Reader2",
        "Short, fast and very silly. Not as deep as the late plays, and all the better for it.",
    ),
];

pub(crate) async fn answer(application: &Application, stars: Stars, head: &Parts) -> Response<Full<Bytes>> {
    let Some(id) = product(head.uri.path(), "/reviews/") else {
        return plain(StatusCode::NOT_FOUND, "there is /reviews/ID\n");
    };
    let color = match stars {
        Stars::None => None,
        Stars::Black => Some("black"),
        Stars::Red => Some("red"),
    };
    let ratings = match color {
        None => Value::Null,
        Some(_) => {
            let (path, headers) = (format!("/ratings/{id}"), passed_on(&head.headers));
            let asked = application.mesh.get("ratings", &path, &headers).await;
            asked.unwrap_or_else(|problem| json!({ "problem": problem }))
        }
    };
    let reviews = REVIEWS.map(|(reviewer, text)| {
        let mut review = json!({ "reviewer": reviewer, "text": text });
        if let Some(color) = color {
            review["rating"] = match ratings["ratings"][reviewer].as_u64() {
                Some(stars) => json!({ "stars": stars, "color": color }),
                None => json!({ "problem": ratings["problem"] }),
            };
        }
        review
    });
    json(&json!({
        "id": id,
        "pod": application.pod.name,
        "version": application.pod.version,
        "reviews": reviews,
    }))
}
