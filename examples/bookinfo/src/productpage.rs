//! The page: details and reviews side by side, and who is signed in.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, COOKIE, HeaderValue, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;

use crate::app::{Application, plain, typed};
use crate::page::{self, Page};
use crate::upstream::passed_on;

/// The only book there is.
const PRODUCT: u32 = 0;
/// The longest name of a user.
const NAME_BYTES_MAX: usize = 32;

pub(crate) async fn answer(application: &Application, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
    match (&head.method, head.uri.path()) {
        (&Method::GET | &Method::HEAD, "/productpage") => show(application, head).await,
        (&Method::POST, "/login") => {
            let user = field(body, "username").filter(|name| is_name(name)).unwrap_or_default();
            let age = if user.is_empty() { "; Max-Age=0" } else { "" };
            back(&format!("user={user}; Path=/; HttpOnly; SameSite=Lax{age}"))
        }
        (_, "/logout") => back("user=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"),
        _ => plain(StatusCode::NOT_FOUND, "there is /productpage\n"),
    }
}

async fn show(application: &Application, head: &Parts) -> Response<Full<Bytes>> {
    let user = user(&head.headers);
    let mut headers = passed_on(&head.headers);
    // Who is signed in is said by the cookie alone, so that nobody outside speaks for somebody else.
    headers.remove("end-user");
    if let Some(name) = user.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert("end-user", name);
    }
    let (details_path, reviews_path) = (format!("/details/{PRODUCT}"), format!("/reviews/{PRODUCT}"));
    let (details, reviews) = tokio::join!(
        application.mesh.get("details", &details_path, &headers),
        application.mesh.get("reviews", &reviews_path, &headers),
    );
    let page = Page {
        user: user.as_deref(),
        details: details.as_ref().map_err(String::as_str),
        reviews: reviews.as_ref().map_err(String::as_str),
    };
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", page::render(&page));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn back(cookie: &str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::SEE_OTHER, "see /productpage\n");
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/productpage"));
    // Names are letters and digits, so this is always a header value.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn user(headers: &HeaderMap) -> Option<String> {
    let cookies = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';'));
    let name = pairs.find_map(|pair| pair.trim().strip_prefix("user="))?;
    is_name(name).then(|| name.to_owned())
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A field of a form. Names need no escapes, so none are undone.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value.trim().to_owned())
}
