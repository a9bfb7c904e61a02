//! Questions to admin ports, and the knobs of the applications.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::Value;
use weft_bookinfo::client::Caller;
use weft_bookinfo::pods::Pod;

/// How long an admin port may take.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) fn request(method: &Method, target: &str, host: &str) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(target).header("host", host);
    Ok(request.body(Full::new(Bytes::new()))?)
}

async fn ask(to: SocketAddr, method: &Method, path: &str) -> Result<Response<Bytes>> {
    let request = request(method, path, &to.to_string())?;
    let reply = Caller::new(to, LIMIT).call(request).await?;
    if !reply.status().is_success() {
        bail!("http://{to}{path} answered {}", reply.status().as_u16());
    }
    Ok(reply)
}

/// Whether a process says that it is ready, within the limit.
pub(super) async fn is_ready(to: SocketAddr, path: &str) -> bool {
    ask(to, &Method::GET, path).await.is_ok()
}

/// A page of text.
pub(super) async fn text(to: SocketAddr, path: &str) -> Result<String> {
    let reply = ask(to, &Method::GET, path).await?;
    Ok(String::from_utf8_lossy(reply.body()).into_owned())
}

/// A page of JSON.
pub(super) async fn json(to: SocketAddr, path: &str) -> Result<Value> {
    let reply = ask(to, &Method::GET, path).await?;
    serde_json::from_slice(reply.body()).with_context(|| format!("http://{to}{path} is no JSON"))
}

/// Has an application forget how many requests it had at once, past the mesh.
pub(super) async fn clear_ledger(pod: Pod) -> Result<()> {
    ask(pod.application(), &Method::POST, "/admin/ledger/clear").await?;
    Ok(())
}

/// How many requests an application had at once since then, by its own count.
pub(super) async fn most_at_once(pod: Pod) -> Result<u64> {
    let ledger = json(pod.application(), "/admin/ledger").await?;
    let most = ledger["requests"]["in_flight_highest"].as_u64();
    most.with_context(|| format!("the ledger of {} is {ledger}", pod.name))
}

/// Turns a knob of an application, past the mesh.
pub(super) async fn turn(pod: Pod, knob: &str) -> Result<()> {
    ask(pod.application(), &Method::POST, &format!("/admin/knobs?{knob}")).await?;
    Ok(())
}
