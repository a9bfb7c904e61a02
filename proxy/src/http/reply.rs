//! in → out: a `Failure`, a redirect, a direct response → the response that we make ourselves.
//! owns: status, headers and body of local replies.
//! may not touch: whether to retry.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body::ReplyBody;
use super::failure::Verdict;

/// weft's reason for a reply of our own.
pub(crate) const X_WEFT_REASON: HeaderName = HeaderName::from_static("x-weft-reason");

/// The response to a request that failed. `tell_reason` is off where the outside must not see it.
pub(crate) fn failure(verdict: &Verdict, tell_reason: bool) -> Response<ReplyBody> {
    let mut response = local(verdict.status, Bytes::from_static(verdict.body.as_bytes()));
    if tell_reason {
        response
            .headers_mut()
            .insert(X_WEFT_REASON, HeaderValue::from_static(verdict.reason));
    }
    response
}

/// A response that names another place.
pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Response<ReplyBody> {
    let mut response = local(status, Bytes::new());
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A response with a body that is at hand.
pub(crate) fn local(status: StatusCode, body: Bytes) -> Response<ReplyBody> {
    let length = body.len();
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if length > 0 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}
