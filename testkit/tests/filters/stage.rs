//! A gateway in front of services, under rules, and what its figures say.

use std::net::SocketAddr;

use weft_testkit::{
    Mesh,
    objects::{file, rules, service},
};

/// Services by name with an address each, and these rules as YAML.
pub(crate) async fn mesh(services: &[(&str, SocketAddr)], http: &str, objects: &[String]) -> Mesh {
    let services: Vec<_> = services
        .iter()
        .map(|(name, address)| service(name, &[("v1", *address)]))
        .collect();
    let rules = file(&[&[rules("web", http)], objects].concat());
    Mesh::start(&services, &rules, 1).await
}

/// The sum of a metric over all lines that have all of these labels.
pub(crate) async fn sum(mesh: &Mesh, name: &str, labels: &[&str]) -> f64 {
    let page = mesh.admin("/stats/prometheus").await.text();
    let lines = page
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label)));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
