//! A gateway before one service with outlier detection, and what it says about the endpoints.

use std::net::SocketAddr;

use weft_testkit::{
    Behaviour, Mesh, Upstream, eventually,
    objects::{self, file, rules},
};

/// The service that is called.
pub(crate) const HOST: &str = "web";

/// Long enough for nobody to come back in a test.
pub(crate) const LONG: &str = "interval: 10ms, baseEjectionTime: 60s";

/// A DestinationRule for the service with this `trafficPolicy`.
pub(crate) fn policy(policy: &str) -> String {
    objects::policy(HOST, policy)
}

/// Everything to the service, without retries, under this `trafficPolicy`.
pub(crate) fn all_to_it(traffic: &str) -> String {
    let route = format!("    - {{route: [{{destination: {{host: {HOST}}}}}], retries: {{attempts: 0}}}}\n");
    file(&[rules(HOST, &route), policy(traffic)])
}

/// A gateway before these endpoints with this `outlierDetection`.
pub(crate) async fn mesh(endpoints: &[SocketAddr], detection: &str, workers: usize) -> Mesh {
    let traffic = format!("{{outlierDetection: {{{detection}}}}}");
    Mesh::start(&[service_at(endpoints)], &all_to_it(&traffic), workers).await
}

/// The service with these endpoints.
pub(crate) fn service_at(endpoints: &[SocketAddr]) -> String {
    objects::service_at(HOST, endpoints)
}

/// An upstream that answers with the status that the path names, and its name.
pub(crate) fn obedient() -> Upstream {
    Upstream::start(|seen| {
        let status = seen.path().rsplit('/').next().and_then(|status| status.parse().ok());
        Behaviour::status(status.unwrap_or(200), "as told")
    })
}

/// The addresses of these upstreams.
pub(crate) fn addresses(upstreams: &[Upstream]) -> Vec<SocketAddr> {
    upstreams.iter().map(Upstream::address).collect()
}

/// A metric of the service's cluster.
pub(crate) async fn metric(mesh: &Mesh, name: &str) -> f64 {
    mesh.cluster_metric(HOST, name).await
}

/// Endpoints that are out.
pub(crate) async fn ejected(mesh: &Mesh) -> f64 {
    metric(mesh, "envoy_cluster_outlier_detection_ejections_active").await
}

/// What `/clusters` says about an endpoint.
pub(crate) async fn figure(mesh: &Mesh, endpoint: SocketAddr, name: &str) -> Option<String> {
    let page = mesh.admin("/clusters").await.text();
    let line = page
        .lines()
        .find(|line| line.contains(&format!("|{HOST}.")) && line.contains(&format!("::{endpoint}::{name}::")))?;
    line.rsplit("::").next().map(str::to_owned)
}

/// Asks until so many endpoints are out.
pub(crate) async fn ask_until_ejected(mesh: &Mesh, path: &str, count: f64) {
    eventually("endpoints are ejected", async || {
        mesh.get(path, &[]).await;
        (ejected(mesh).await == count).then_some(())
    })
    .await;
}
