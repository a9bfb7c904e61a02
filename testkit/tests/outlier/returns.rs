//! How endpoints come back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use std::time::Duration;

use tokio::time::Instant;
use weft_testkit::{Behaviour, Upstream, eventually, mesh::RULES};

use crate::stage::{all_to_it, ask_until_ejected, ejected, figure, mesh};

/// An upstream that fails for as long as the flag is set.
fn moody() -> (Upstream, Arc<AtomicBool>) {
    let bad = Arc::new(AtomicBool::new(true));
    let is_bad = bad.clone();
    let upstream = Upstream::start(move |_| {
        if is_bad.load(Relaxed) {
            Behaviour::status(500, "bad")
        } else {
            Behaviour::ok("good")
        }
    });
    (upstream, bad)
}

#[tokio::test]
async fn an_endpoint_returns_after_its_time_and_stays_out_longer_the_next_time() {
    const BASE: Duration = Duration::from_secs(1);
    let (upstream, bad) = moody();
    // An ejection is worked off at the sweep after the return: the next one has a second to come before that.
    let detection = "consecutive5xxErrors: 2, maxEjectionPercent: 100, interval: 1s, baseEjectionTime: 1s";
    let mesh = mesh(upstream.addresses(), detection, 1).await;
    let mut out = Vec::new();
    for number in ["1", "2"] {
        let start = Instant::now();
        ask_until_ejected(&mesh, "/", 1.0).await;
        assert_eq!(
            figure(&mesh, upstream.address(), "ejection_number").await.as_deref(),
            Some(number)
        );
        let reply = mesh.get("/", &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "no healthy upstream"));
        eventually("it is back", async || (ejected(&mesh).await == 0.0).then_some(())).await;
        out.push(start.elapsed());
    }
    assert!(out[0] >= BASE && out[1] >= 2 * BASE, "{out:?}");
    bad.store(false, Relaxed);
    assert_eq!(mesh.get("/", &[]).await.text(), "good");
    assert_eq!(
        figure(&mesh, upstream.address(), "ejections_total").await.as_deref(),
        Some("2")
    );
    assert_eq!(
        figure(&mesh, upstream.address(), "health_flags").await.as_deref(),
        Some("healthy")
    );
}

#[tokio::test]
async fn turning_detection_off_brings_everybody_back() {
    let (upstream, bad) = moody();
    let detection = "consecutive5xxErrors: 1, maxEjectionPercent: 100, interval: 10ms, baseEjectionTime: 60s";
    let mesh = mesh(upstream.addresses(), detection, 2).await;
    ask_until_ejected(&mesh, "/", 1.0).await;
    bad.store(false, Relaxed);
    assert_eq!(mesh.get("/", &[]).await.text(), "no healthy upstream");
    mesh.control
        .replace(RULES, &all_to_it("{loadBalancer: {simple: ROUND_ROBIN}}"));
    eventually("it is back", async || {
        (mesh.get("/", &[]).await.text() == "good").then_some(())
    })
    .await;
}

#[tokio::test]
async fn other_settings_keep_who_is_out() {
    let (upstream, _bad) = moody();
    let detection = "consecutive5xxErrors: 1, maxEjectionPercent: 100, interval: 10ms, baseEjectionTime: 60s";
    let mesh = mesh(upstream.addresses(), detection, 2).await;
    ask_until_ejected(&mesh, "/", 1.0).await;
    let since = figure(&mesh, upstream.address(), "ejected_at").await.expect("a time");
    let longer = detection.replace("60s", "90s");
    mesh.control
        .replace(RULES, &all_to_it(&format!("{{outlierDetection: {{{longer}}}}}")));
    eventually("the new time is in force", async || {
        let until: f64 = figure(&mesh, upstream.address(), "ejected_until").await?.parse().ok()?;
        let since: f64 = since.parse().ok()?;
        (until - since > 89.0).then_some(())
    })
    .await;
    assert_eq!(figure(&mesh, upstream.address(), "ejected_at").await, Some(since));
}
