//! What the gateway says of itself is what happened.

use std::{collections::BTreeMap, time::Duration};

use weft_testkit::{
    Behaviour, Client, Mesh, Upstream,
    objects::{file, rules, service, subsets},
};

/// Value of each series of a family: labels as text → value.
fn series(text: &str, family: &str) -> BTreeMap<String, f64> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{')?.rsplit_once("} "));
    lines
        .map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number")))
        .collect()
}

async fn metrics(mesh: &Mesh) -> String {
    let reply = mesh.admin("/stats/prometheus").await;
    assert_eq!(reply.status, 200);
    reply.text()
}

#[tokio::test]
async fn requests_are_counted_exactly_over_all_workers() {
    const REQUESTS: usize = 500;
    let upstream = Upstream::start(|seen| match seen.path() {
        "/bad" => Behaviour::status(500, "bad"),
        _ => Behaviour::ok("fine"),
    });
    let web = service("web", &[("v1", upstream.address())]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        3,
    )
    .await;
    let before: f64 = series(&metrics(&mesh).await, "istio_requests_total").values().sum();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(mesh.address()).await);
    }
    for index in 0..REQUESTS {
        let path = if index % 5 == 0 { "/bad" } else { "/" };
        clients[index % 10]
            .get("anything.test", path, &[])
            .await
            .expect("a reply");
    }
    let text = metrics(&mesh).await;
    let total = series(&text, "istio_requests_total");
    assert_eq!(total.values().sum::<f64>() - before, REQUESTS as f64, "{total:#?}");
    let with = |part: &str| {
        total
            .iter()
            .filter(|(labels, _)| labels.contains(part))
            .map(|(_, value)| value)
            .sum::<f64>()
    };
    assert_eq!(with("response_code=\"500\""), REQUESTS as f64 / 5.0);
    assert_eq!(
        with("destination_service=\"web.shop.svc.cluster.local\""),
        REQUESTS as f64
    );
    let counts = series(&text, "istio_request_duration_milliseconds_count");
    assert_eq!(counts.values().sum::<f64>() - before, REQUESTS as f64);
}

#[tokio::test]
async fn a_host_that_nobody_knows_mints_no_series() {
    let upstream = Upstream::named("one");
    let web = service("web", &[("v1", upstream.address())]);
    let http = "    - match: [{uri: {exact: /known}}]\n      route: [{destination: {host: web}}]\n";
    let mesh = Mesh::start(&[web], &file(&[rules("web", http)]), 1).await;
    for index in 0..50 {
        let mut client = Client::connect(mesh.address()).await;
        let reply = client
            .get(&format!("random-{index}.test"), &format!("/{index}"), &[])
            .await
            .expect("a reply");
        assert_eq!(reply.status, 404);
    }
    let text = metrics(&mesh).await;
    assert!(!text.contains("random-"), "a client's text has become a label");
    assert_eq!(series(&text, "istio_requests_total").len(), 1);
}

/// The quantile of a classic histogram, by linear interpolation within its bucket as Prometheus does it.
fn quantile(text: &str, with: &str, quantile: f64) -> f64 {
    let buckets = series(text, "istio_request_duration_milliseconds_bucket");
    let mut steps: Vec<(f64, f64)> = buckets
        .iter()
        .filter(|(labels, _)| labels.contains(with))
        .map(|(labels, count)| {
            let bound = labels
                .split("le=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .expect("a bound");
            (bound.parse().unwrap_or(f64::INFINITY), *count)
        })
        .collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = quantile * steps.last().expect("buckets").1;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in steps {
        if count >= wanted {
            return low + (bound - low) * (wanted - below) / (count - below);
        }
        (low, below) = (bound, count);
    }
    low
}

#[tokio::test]
async fn durations_fall_into_the_buckets_of_their_time() {
    let upstreams = [1, 40].map(|ms| Upstream::start(move |_| Behaviour::ok("x").after(Duration::from_millis(ms))));
    let web = service(
        "web",
        &[("fast", upstreams[0].address()), ("slow", upstreams[1].address())],
    );
    let http = "    - match: [{uri: {exact: /slow}}]\n      route: [{destination: {host: web, subset: slow}}]\n    - route: [{destination: {host: web, subset: fast}}]\n";
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", http), subsets("web", &["fast", "slow"])]),
        1,
    )
    .await;
    let mut client = Client::connect(mesh.address()).await;
    for _ in 0..20 {
        for path in ["/slow", "/fast"] {
            assert_eq!(client.get("a", path, &[]).await.expect("a reply").status, 200);
        }
    }
    let text = metrics(&mesh).await;
    let [fast, slow] = ["fast", "slow"].map(|v| quantile(&text, &format!("destination_version=\"{v}\""), 0.5));
    assert!(
        (1.0..25.0).contains(&fast) && (25.0..100.0).contains(&slow),
        "{fast} ms and {slow} ms"
    );
}

#[tokio::test]
async fn upstreams_that_take_a_tenth_longer_have_another_median() {
    // The pause of a script is rounded up to the next millisecond by its timer; the median of a summary is exact to 1%.
    let upstreams = [30, 33].map(|ms| Upstream::start(move |_| Behaviour::ok("x").after(Duration::from_millis(ms))));
    let web = service("web", &[("a", upstreams[0].address()), ("b", upstreams[1].address())]);
    let http = "    - match: [{uri: {exact: /b}}]\n      route: [{destination: {host: web, subset: b}}]\n    - route: [{destination: {host: web, subset: a}}]\n";
    let mesh = Mesh::start(&[web], &file(&[rules("web", http), subsets("web", &["a", "b"])]), 1).await;
    let mut client = Client::connect(mesh.address()).await;
    for _ in 0..20 {
        for path in ["/a", "/b"] {
            assert_eq!(client.get("a", path, &[]).await.expect("a reply").status, 200);
        }
    }
    let summary = series(&metrics(&mesh).await, "weft_request_duration_milliseconds");
    let median = |version: &str| {
        let wanted = |labels: &str| {
            labels.contains(&format!("destination_version=\"{version}\"")) && labels.contains("quantile=\"0.5\"")
        };
        *summary.iter().find(|(labels, _)| wanted(labels)).expect("a median").1
    };
    let (a, b) = (median("a"), median("b"));
    assert!(a >= 30.0 && b >= 33.0 && b - a > 1.0, "{a} ms and {b} ms");
}

#[tokio::test]
async fn the_admin_server_shows_what_is_in_force() {
    let upstream = Upstream::named("one");
    let web = service("web", &[("v1", upstream.address())]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await;
    assert_eq!(mesh.admin("/ready").await.status, 200);
    let dump: serde_json::Value = serde_json::from_str(&mesh.admin("/config_dump").await.text()).expect("JSON");
    let text = dump.to_string();
    let port = mesh.address().port();
    for name in [
        format!("0.0.0.0_{port}"),
        format!("http.{port}"),
        "outbound|80||web.shop.svc.cluster.local".to_owned(),
    ] {
        assert!(text.contains(&name), "{name} is not in {text}");
    }
    let clusters = mesh.admin("/clusters").await.text();
    assert!(clusters.contains(&upstream.address().to_string()), "{clusters}");
    assert_eq!(mesh.admin("/nothing").await.status, 404);
}
