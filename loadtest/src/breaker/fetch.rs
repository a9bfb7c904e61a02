//! Small questions to admin ports.

use std::net::ToSocketAddrs;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an admin port may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of its answer at the most.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Asks once. The error is one line that names the place.
pub(super) async fn fetch(method: Method, url: &str) -> Result<Bytes, String> {
    match tokio::time::timeout(LIMIT, ask(method, url)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) => Err(format!("{url}: {problem}")),
        Err(_) => Err(format!("{url}: no answer within {} s", LIMIT.as_secs())),
    }
}

async fn ask(method: Method, url: &str) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|_| "must be http://host:port/path".to_owned())?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err("must be http://host:port/path".to_owned());
    };
    let place = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let address = place
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .next()
        .ok_or("has no address")?;
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
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
    let body = Limited::new(response.into_body(), BYTES_MAX)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("answered {status}"));
    }
    Ok(body.to_bytes())
}
