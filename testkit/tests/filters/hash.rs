use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use weft_testkit::{
    Behaviour, Mesh, Upstream, eventually,
    mesh::RULES,
    objects::{file, policy, rules, service},
};

use crate::stage::sum;

const KEYS: usize = 40;

fn objects(balancer: &str, outliers: &str) -> String {
    let traffic = format!("{{loadBalancer: {{consistentHash: {{httpHeaderName: x-key, {balancer}}}}}{outliers}}}");
    let policy = policy("web", &traffic);
    file(&[rules("web", "    - route: [{destination: {host: web}}]\n"), policy])
}

/// Who answers each key, each on a connection of its own, so that all workers are asked.
async fn owners(mesh: &Mesh) -> Vec<String> {
    let mut owners = Vec::new();
    for key in 0..KEYS {
        owners.push(mesh.get("/", &[("x-key", &key.to_string())]).await.text());
    }
    owners
}

#[tokio::test]
async fn the_keys_of_an_ejected_endpoint_move_and_most_others_stay() {
    for balancer in ["ringHash: {minimumRingSize: 1024}", "maglev: {tableSize: 65537}"] {
        let ill = Arc::new(AtomicBool::new(false));
        let told = ill.clone();
        let upstreams = [
            Upstream::named("a"),
            Upstream::named("b"),
            Upstream::named("c"),
            Upstream::start(move |_| match told.load(Relaxed) {
                true => Behaviour::status(500, "d"),
                false => Behaviour::ok("d"),
            }),
        ];
        let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
        let outliers = ", outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 1h, \
                        maxEjectionPercent: 50}";
        let mesh = Mesh::start(&[service("web", &pods)], &objects(balancer, outliers), 4).await;
        let before = owners(&mesh).await;
        assert_eq!(owners(&mesh).await, before, "{balancer}: all workers agree");
        let of_d = before.iter().filter(|owner| *owner == "d").count();
        assert!(of_d > 0, "{before:?}");
        ill.store(true, Relaxed);
        let key = before.iter().position(|owner| owner == "d").expect("one").to_string();
        assert_eq!(mesh.get("/", &[("x-key", &key)]).await.status, 500);
        ill.store(false, Relaxed);
        let during = owners(&mesh).await;
        assert!(!during.contains(&"d".to_owned()), "{balancer}: {during:?}");
        let out = sum(&mesh, "envoy_cluster_outlier_detection_ejections_active", &["|web."]).await;
        assert_eq!(out, 1.0, "{balancer}");
        let kept = before.iter().zip(&during).filter(|(one, other)| one == other).count();
        assert!(kept >= (KEYS - of_d) / 2, "{balancer}: {kept}");
    }
}

#[tokio::test]
async fn another_table_size_holds_from_the_next_request() {
    let upstreams = ["a", "b", "c", "d"].map(Upstream::named);
    let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
    let mesh = Mesh::start(&[service("web", &pods)], &objects("maglev: {tableSize: 101}", ""), 2).await;
    let small = owners(&mesh).await;
    mesh.control.replace(RULES, &objects("maglev: {tableSize: 1009}", ""));
    eventually("the keys are placed anew", async || {
        (owners(&mesh).await != small).then_some(())
    })
    .await;
    mesh.control.replace(RULES, &objects("maglev: {tableSize: 101}", ""));
    eventually("and as before", async || (owners(&mesh).await == small).then_some(())).await;
}

#[tokio::test]
async fn a_retry_may_go_back_to_the_owner_of_the_key() {
    let upstreams = [1, 2, 3].map(|_| Upstream::start(|_| Behaviour::status(503, "no")));
    let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
    let text = objects("ringHash: {minimumRingSize: 1024}", "").replace(
        "[{destination: {host: web}}]",
        "[{destination: {host: web}}]\n      retries: {attempts: 2, retryOn: 5xx}",
    );
    let mesh = Mesh::start(&[service("web", &pods)], &text, 1).await;
    assert_eq!(mesh.get("/", &[("x-key", "one")]).await.status, 503);
    let asked: usize = upstreams.iter().map(|one| one.ledger().counts().requests).sum();
    assert_eq!(asked, 3);
}
