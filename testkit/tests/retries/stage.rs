//! A gateway with retries before one service, and what its figures say.

use std::net::SocketAddr;

use weft_testkit::{
    Behaviour, Mesh, Seen, Upstream,
    objects::{self, file, rules},
};

/// The service that is called.
const HOST: &str = "web";

/// Which try a request is, as the upstream is told.
pub(crate) fn try_of(seen: &Seen) -> u32 {
    seen.field("x-envoy-attempt-count")
        .and_then(|count| count.parse().ok())
        .expect("the upstream is told which try it is")
}

/// An upstream on so many ports that fails like this until the retry with this number.
pub(crate) fn failing(ports: usize, failures: u32, failure: Behaviour) -> Upstream {
    Upstream::group(ports, move |seen| {
        if try_of(seen) <= failures {
            failure.clone()
        } else {
            Behaviour::ok("fine")
        }
    })
}

/// Everything to the service with these further fields of the rule, as YAML in flow style, under these objects.
pub(crate) async fn mesh(endpoints: &[SocketAddr], rule: &str, objects: &[String]) -> Mesh {
    let route = format!("    - {{route: [{{destination: {{host: {HOST}}}}}], {rule}}}\n");
    Mesh::start(
        &[objects::service_at(HOST, endpoints)],
        &file(&[&[rules(HOST, &route)], objects].concat()),
        1,
    )
    .await
}

/// A DestinationRule for the service with this `trafficPolicy`.
pub(crate) fn policy(policy: &str) -> String {
    objects::policy(HOST, policy)
}

/// A metric of the service's cluster.
pub(crate) async fn metric(mesh: &Mesh, name: &str) -> f64 {
    mesh.cluster_metric(HOST, name).await
}

/// How many requests ended with these flags.
pub(crate) async fn with_flags(mesh: &Mesh, flags: &str) -> f64 {
    let page = mesh.admin("/stats/prometheus").await.text();
    let lines = page.lines().filter(|line| {
        line.starts_with("istio_requests_total{") && line.contains(&format!("response_flags=\"{flags}\""))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
