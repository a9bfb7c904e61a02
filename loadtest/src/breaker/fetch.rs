//! Small questions to admin ports.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an admin port may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of its answer, at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer. Each is one line that names the place.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// It is no address of an admin port.
    #[error("{url}: must be http://host:port/path")]
    Address { url: String },
    /// Nobody is there, or nobody answers in time.
    #[error("{url}: cannot be asked: {problem}")]
    Unreached { url: String, problem: String },
    /// It answers, but not that.
    #[error("{url}: answered {status}")]
    Status { url: String, status: StatusCode },
}

/// Checks an address without asking there.
///
/// # Errors
/// When it is none.
pub(super) fn check(url: &str) -> Result<Uri, FetchError> {
    let uri = url
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()));
    uri.ok_or_else(|| FetchError::Address { url: url.to_owned() })
}

/// Asks once.
pub(super) async fn fetch(method: Method, url: &str) -> Result<Bytes, FetchError> {
    let uri = check(url)?;
    let unreached = |problem| FetchError::Unreached {
        url: url.to_owned(),
        problem,
    };
    match tokio::time::timeout(LIMIT, ask(method, &uri)).await {
        Ok(Ok((status, bytes))) if status.is_success() => Ok(bytes),
        Ok(Ok((status, _))) => Err(FetchError::Status {
            url: url.to_owned(),
            status,
        }),
        Ok(Err(problem)) => Err(unreached(problem)),
        Err(_) => Err(unreached(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

async fn ask(method: Method, uri: &Uri) -> Result<(StatusCode, Bytes), String> {
    let host = uri.host().unwrap_or_default();
    let place = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(place).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // How it ends shows in the answer.
    tokio::task::spawn(async move { drop(connection.await) });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", uri.authority().map_or(host, |authority| authority.as_str()))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
}
