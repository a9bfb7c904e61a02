//! Rules change while requests are under way: nothing fails, nothing is forgotten, nothing is rebuilt in vain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use weft_testkit::{
    Client, Mesh, Upstream, eventually,
    mesh::RULES,
    objects::{file, rules, service, split, subsets},
};

/// From the last byte of a file to its effect.
const LIVE: Duration = Duration::from_secs(1);

fn text(weights: &[(&str, u32)]) -> String {
    file(&[rules("web", &split("web", weights)), subsets("web", &["v1", "v2"])])
}

async fn two(workers: usize) -> (Mesh, [Upstream; 2]) {
    let upstreams = ["v1", "v2"].map(Upstream::named);
    let web = service("web", &[("v1", upstreams[0].address()), ("v2", upstreams[1].address())]);
    (
        Mesh::start(&[web], &text(&[("v1", 100), ("v2", 0)]), workers).await,
        upstreams,
    )
}

/// Requests without a pause on several kept connections, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<usize>,
}

impl Load {
    fn start(mesh: &Mesh, connections: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (stop, done, address) = (stop.clone(), done.clone(), mesh.address());
            tasks.spawn(async move {
                let (mut client, mut failed) = (Client::connect(address).await, 0);
                while !stop.load(Ordering::Relaxed) {
                    match client.get("shop.test", "/", &[]).await {
                        Ok(reply) if reply.status == 200 => _ = done.fetch_add(1, Ordering::Relaxed),
                        Ok(_) => failed += 1,
                        Err(_) => {
                            failed += 1;
                            client = Client::connect(address).await;
                        }
                    }
                }
                failed
            });
        }
        Load { stop, done, tasks }
    }

    async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.tasks.join_all().await.into_iter().sum();
        (self.done.load(Ordering::Relaxed), failed)
    }
}

#[tokio::test]
async fn a_change_is_live_within_a_second_under_load_and_costs_no_request() {
    let (mesh, _upstreams) = two(2).await;
    let mut kept = Client::connect(mesh.address()).await;
    assert_eq!(kept.get("shop.test", "/", &[]).await.expect("a reply").text(), "v1");
    let load = Load::start(&mesh, 4);
    for round in 0..6 {
        let (weights, expected) = match round % 2 {
            0 => ([("v1", 0), ("v2", 100)], "v2"),
            _ => ([("v1", 100), ("v2", 0)], "v1"),
        };
        if round < 3 {
            mesh.control.overwrite(RULES, &text(&weights));
        } else {
            mesh.control.replace(RULES, &text(&weights));
        }
        let written = Instant::now();
        eventually("the change is live", async || {
            let reply = kept.get("shop.test", "/", &[]).await.expect("the connection survives");
            (reply.text() == expected).then_some(())
        })
        .await;
        assert!(written.elapsed() < LIVE, "round {round} took {:?}", written.elapsed());
    }
    let (done, failed) = load.stop().await;
    assert!(done > 0, "there was no load");
    assert_eq!(failed, 0, "of {done} requests");
}

#[tokio::test]
async fn a_file_that_is_broken_half_written_or_emptied_changes_nothing() {
    let (mesh, _upstreams) = two(1).await;
    let good = text(&[("v1", 0), ("v2", 100)]);
    let half = &good[..good.len() / 2];
    for (what, broken) in [
        ("broken", "spec: [unclosed\n"),
        ("half-written", half),
        ("emptied", ""),
        ("refused", &good.replace("weight: 100", "weight: -1")),
        ("an unknown field", &good.replace("weight: 100", "weihgt: 100")),
    ] {
        mesh.control.overwrite(RULES, broken);
        // A later change of another file is live: so the control plane has read past the broken one.
        let marker = format!(
            "    - match: [{{uri: {{exact: /{}}}}}]\n      directResponse: {{status: 299}}\n",
            what.replace(' ', "-")
        );
        mesh.control.replace("marker.yaml", &rules("a-marker", &marker));
        let path = format!("/{}", what.replace(' ', "-"));
        eventually("the marker is live", async || {
            (mesh.get(&path, &[]).await.status == 299).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert_eq!(mesh.get("/", &[]).await.text(), "v1", "{what}");
        }
    }
    mesh.control.replace(RULES, &good);
    eventually("the repaired file is live", async || {
        (mesh.get("/", &[]).await.text() == "v2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_order_in_which_objects_are_applied_costs_no_request() {
    let (mesh, _upstreams) = two(1).await;
    let load = Load::start(&mesh, 2);
    // The rule names a subset that does not exist yet; the subset follows later.
    let only_rule = rules("web", &split("web", &[("canary", 100)]));
    mesh.control
        .replace(RULES, &file(&[only_rule.clone(), subsets("web", &["v1", "v2"])]));
    let marker = "    - match: [{uri: {exact: /marker}}]\n      directResponse: {status: 299}\n";
    mesh.control.replace("marker.yaml", &rules("a-marker", marker));
    eventually("the marker is live", async || {
        (mesh.get("/marker", &[]).await.status == 299).then_some(())
    })
    .await;
    assert_eq!(
        mesh.get("/", &[]).await.text(),
        "v1",
        "the last good value stays in force"
    );
    let canary = subsets("web", &["v1", "v2"]) + "    - {name: canary, labels: {version: v2}}\n";
    mesh.control.replace(RULES, &file(&[only_rule, canary]));
    eventually("the subset is live", async || {
        (mesh.get("/", &[]).await.text() == "v2").then_some(())
    })
    .await;
    let (done, failed) = load.stop().await;
    assert_eq!(failed, 0, "of {done} requests");
}

#[tokio::test]
async fn endpoints_come_and_go_without_a_failed_request() {
    let (mesh, upstreams) = two(1).await;
    mesh.control.replace(
        RULES,
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
    );
    let load = Load::start(&mesh, 2);
    let both = service("web", &[("v1", upstreams[0].address()), ("v2", upstreams[1].address())]);
    let second = service("web", &[("v2", upstreams[1].address())]);
    for _ in 0..3 {
        mesh.control.replace("services.yaml", &second);
        eventually("only the second is used", async || {
            for _ in 0..20 {
                if mesh.get("/", &[]).await.text() != "v2" {
                    return None;
                }
            }
            Some(())
        })
        .await;
        mesh.control.replace("services.yaml", &both);
        eventually("the first is back", async || {
            (mesh.get("/", &[]).await.text() == "v1").then_some(())
        })
        .await;
    }
    let (done, failed) = load.stop().await;
    assert_eq!(failed, 0, "of {done} requests");
}
