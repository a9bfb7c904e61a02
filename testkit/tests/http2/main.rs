//! HTTP/2 with prior knowledge on either side of the gateway.

mod calls;
mod limits;
mod streams;

use http::Request;
use weft_testkit::{
    Http2Client, Mesh, eventually,
    objects::{self, file, rules, service},
};

/// A gateway in front of one service `web`, whose port is declared as `protocol`, and what a DestinationRule says of it.
async fn mesh(address: std::net::SocketAddr, protocol: &str, policy: &str, workers: usize) -> Mesh {
    let web = service("web", &[("v1", address)]).replace("{name: http,", &format!("{{name: {protocol},"));
    let mesh = Mesh::start(&[web], &rule_file(policy), workers).await;
    eventually("the route is live", async || {
        (mesh.get("/ready", &[]).await.status != 404).then_some(())
    })
    .await;
    mesh
}

/// The rules of [`mesh`] with this traffic policy.
fn rule_file(policy: &str) -> String {
    let mut objects = vec![rules("web", "    - route: [{destination: {host: web}}]\n")];
    if !policy.is_empty() {
        objects.push(objects::policy("web", policy));
    }
    file(&objects)
}

async fn client(mesh: &Mesh) -> Http2Client {
    Http2Client::connect(mesh.address())
        .await
        .expect("the gateway listens")
        .0
}

fn post(path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://shop.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a legal head")
}

async fn counted(mesh: &Mesh, wanted: &[&str]) {
    eventually(&format!("a series with {wanted:?}"), async || {
        let text = mesh.admin("/stats/prometheus").await.text();
        let mut lines = text.lines().filter(|line| line.starts_with("istio_requests_total"));
        lines
            .any(|line| wanted.iter().all(|label| line.contains(label)))
            .then_some(())
    })
    .await;
}

/// All of them, beside one another on this task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
