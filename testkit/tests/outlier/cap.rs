//! How many may be out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::task::JoinSet;
use weft_testkit::{Behaviour, Client, Upstream, eventually};

use crate::stage::{LONG, addresses, ask_until_ejected, ejected, figure, mesh, metric};

/// Three endpoints, the last of which fails.
fn one_bad() -> [Upstream; 3] {
    [
        Upstream::named("good"),
        Upstream::named("good"),
        Upstream::start(|_| Behaviour::status(500, "bad")),
    ]
}

#[tokio::test]
async fn the_usual_cap_ejects_nobody_out_of_three() {
    let upstreams = one_bad();
    let mesh = mesh(&addresses(&upstreams), "consecutive5xxErrors: 3, interval: 10ms", 1).await;
    eventually("the bad one has been seen", async || {
        mesh.get("/", &[]).await;
        let seen = metric(&mesh, "envoy_cluster_outlier_detection_ejections_overflow").await;
        (seen >= 3.0).then_some(())
    })
    .await;
    assert_eq!(ejected(&mesh).await, 0.0);
    assert_eq!(
        metric(
            &mesh,
            "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx"
        )
        .await,
        (upstreams[2].ledger().counts().requests / 3) as f64,
        "every third error, and the run begins anew"
    );
    for (percent, out) in [(33, 0.0), (34, 1.0)] {
        let detection = format!("consecutive5xxErrors: 3, maxEjectionPercent: {percent}, {LONG}");
        let mesh = crate::stage::mesh(&addresses(&upstreams), &detection, 1).await;
        eventually("the bad one has been seen", async || {
            mesh.get("/", &[]).await;
            let seen = metric(
                &mesh,
                "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx",
            )
            .await;
            (seen >= 1.0).then_some(())
        })
        .await;
        assert_eq!(ejected(&mesh).await, out, "{percent}");
    }
}

#[tokio::test]
async fn who_is_out_gets_nothing_and_is_named() {
    let upstreams = one_bad();
    let bad = upstreams[2].address();
    let detection = format!("consecutive5xxErrors: 3, maxEjectionPercent: 50, {LONG}");
    let mesh = mesh(&addresses(&upstreams), &detection, 1).await;
    ask_until_ejected(&mesh, "/", 1.0).await;
    let before = upstreams[2].ledger().counts().requests;
    assert_eq!(before, 3);
    for _ in 0..60 {
        assert_eq!(mesh.get("/", &[]).await.text(), "good");
    }
    assert_eq!(upstreams[2].ledger().counts().requests, before);
    assert_eq!(
        figure(&mesh, bad, "health_flags").await.as_deref(),
        Some("/failed_outlier_check")
    );
    assert_eq!(
        figure(&mesh, bad, "ejection_cause").await.as_deref(),
        Some("consecutive_5xx")
    );
    assert_eq!(figure(&mesh, bad, "ejection_number").await.as_deref(), Some("1"));
    let time = |text: Option<String>| text.and_then(|text| text.parse::<f64>().ok()).expect("a time");
    let since = time(figure(&mesh, bad, "ejected_at").await);
    let until = time(figure(&mesh, bad, "ejected_until").await);
    assert!((until - since - 60.0).abs() < 0.002, "{since} {until}");
    let page = mesh.admin("/stats/prometheus").await.text();
    let line = page.lines().find(|line| line.starts_with("weft_ejections_total{"));
    let line = line.unwrap_or_else(|| panic!("no ejection in {page}"));
    assert!(line.contains(&bad.to_string()) && line.contains("cause=\"consecutive_5xx\"") && line.ends_with(" 1"));
}

#[tokio::test]
async fn all_may_be_out_where_that_is_allowed() {
    let upstreams = [(); 3].map(|()| Upstream::start(|_| Behaviour::status(500, "bad")));
    let detection = format!("consecutive5xxErrors: 3, maxEjectionPercent: 100, {LONG}");
    let mesh = mesh(&addresses(&upstreams), &detection, 1).await;
    ask_until_ejected(&mesh, "/", 3.0).await;
    let reply = mesh.get("/", &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "no healthy upstream"));
    let requests: usize = upstreams.iter().map(|one| one.ledger().counts().requests).sum();
    assert_eq!(requests, 9);
}

#[tokio::test]
async fn below_the_least_share_of_healthy_endpoints_ejection_is_ignored() {
    let upstreams = [
        Upstream::named("good"),
        Upstream::start(|_| Behaviour::status(500, "bad")),
    ];
    let detection = format!("consecutive5xxErrors: 1, maxEjectionPercent: 100, minHealthPercent: 60, {LONG}");
    let mesh = mesh(&addresses(&upstreams), &detection, 1).await;
    ask_until_ejected(&mesh, "/", 1.0).await;
    let before = upstreams[1].ledger().counts().requests;
    eventually("the ejected one is asked all the same", async || {
        mesh.get("/", &[]).await;
        (upstreams[1].ledger().counts().requests > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn four_workers_together_keep_to_the_cap() {
    const CALLERS: usize = 16;
    let upstreams = [(); 10].map(|()| Upstream::start(|_| Behaviour::status(503, "bad")));
    // They come back soon and go out again.
    let detection = "consecutive5xxErrors: 1, maxEjectionPercent: 35, interval: 5ms, baseEjectionTime: 20ms";
    let mesh = mesh(&addresses(&upstreams), detection, 4).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (address, stop) = (mesh.address(), stop.clone());
        callers.spawn(async move {
            let mut client = Client::connect(address).await;
            while !stop.load(Relaxed) {
                client.get("shop.test", "/", &[]).await.expect("a reply");
            }
        });
    }
    let mut most = 0.0_f64;
    eventually("many ejections", async || {
        most = most.max(ejected(&mesh).await);
        let total = metric(&mesh, "envoy_cluster_outlier_detection_ejections_enforced_total").await;
        (total >= 20.0).then_some(())
    })
    .await;
    stop.store(true, Relaxed);
    callers.join_all().await;
    assert_eq!(most, 3.0, "35 % of ten");
}
