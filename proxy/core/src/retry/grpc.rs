use http::{HeaderMap, HeaderName, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Envoy's word for a client that is gone; no standard status says so.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The `grpc-status` of headers or trailers, if it is a number.
pub fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// The HTTP status that says the same as a gRPC status (`google.rpc.Code`); what is no gRPC status is a server's error.
pub fn http_of_grpc(status: u32) -> StatusCode {
    let code = match status {
        0 => 200,
        1 => CLIENT_CLOSED_REQUEST,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
