//! Ejections under Envoy and under us: after how many errors, of whom, how many at most, and back again.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use weft_testkit::{Behaviour, Client, Upstream, eventually, objects::service};

use crate::stage::{BOTH, HOST, Side, Stage, all_to_it, policy};

/// Requests that show who still gets some.
const ROUND: usize = 30;

/// Three endpoints, the last of which answers what it is told.
struct Trio {
    upstreams: [Upstream; 3],
    /// The status that the last one gives.
    status: Arc<AtomicU16>,
    stage: Stage,
}

impl Trio {
    fn new(detection: &str) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let told = status.clone();
        let upstreams = [
            Upstream::named("good"),
            Upstream::named("good"),
            Upstream::start(move |_| Behaviour::status(told.load(Relaxed), "told")),
        ];
        let pods: Vec<_> = upstreams.iter().map(|upstream| ("v1", upstream.address())).collect();
        let traffic = format!("{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {detection}}}");
        let stage = Stage::new(
            "HTTP",
            &[service(HOST, &pods), all_to_it("{attempts: 0}"), policy(&traffic)],
        );
        Self {
            upstreams,
            status,
            stage,
        }
    }

    /// Asks until the last one has given each of these once, in this order.
    async fn provoke(&self, client: &mut Client, statuses: &[u16]) {
        for status in statuses {
            self.status.store(*status, Relaxed);
            eventually(&format!("the last one answers {status}"), async || {
                let reply = client.get("shop.test", "/", &[]).await.expect("a reply");
                (reply.text() == "told").then(|| assert_eq!(reply.status, *status))
            })
            .await;
        }
        self.status.store(500, Relaxed);
    }

    /// How many of a round each of them gets.
    async fn round(&self, client: &mut Client) -> [usize; 3] {
        let before = self
            .upstreams
            .each_ref()
            .map(|upstream| upstream.ledger().counts().requests);
        for _ in 0..ROUND {
            client.get("shop.test", "/", &[]).await.expect("a reply");
        }
        let mut got = self
            .upstreams
            .each_ref()
            .map(|upstream| upstream.ledger().counts().requests);
        got.iter_mut().zip(before).for_each(|(got, before)| *got -= before);
        got
    }
}

async fn ejected(side: &Side) -> u64 {
    side.figure("outlier_detection.ejections_active").await
}

async fn enforced(side: &Side) -> u64 {
    side.figure("outlier_detection.ejections_enforced_total").await
}

/// `provoked` has the last one ejected, and nothing before its last status does.
async fn both_eject_after(detection: &str, provoked: &[u16]) {
    let trio = Trio::new(&format!(
        "{{{detection}, interval: 1h, baseEjectionTime: 1h, maxEjectionPercent: 100}}"
    ));
    for who in BOTH {
        let side = trio.stage.enter(who).await;
        let mut client = Client::connect(trio.stage.address()).await;
        // Each status after the first shows that the one before it ejected nobody.
        trio.provoke(&mut client, provoked).await;
        eventually(
            &format!("{side} ejects after {provoked:?} under {detection}"),
            async || (ejected(&side).await == 1).then_some(()),
        )
        .await;
        let round = trio.round(&mut client).await;
        assert_eq!(round[2], 0, "{who:?}: {round:?}");
        assert!(round[0].abs_diff(round[1]) <= 1, "{who:?}: {round:?}");
        assert_eq!(enforced(&side).await, 1, "{who:?}");
    }
}

#[tokio::test]
async fn both_eject_after_the_same_errors() {
    for (detection, provoked) in [
        ("consecutive5xxErrors: 3", &[500, 503, 501][..]),
        ("consecutive5xxErrors: 2", &[500, 404, 500, 200, 500, 500]),
        // A 500 ends a run of gateway errors.
        (
            "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
            &[503, 500, 503, 200, 502, 504],
        ),
        // Its own list of errors: others are none, 5xx or not.
        (
            "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429, 503]",
            &[429, 500, 503, 502, 429, 503],
        ),
        (
            "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0, outlierDetectionHttpErrorCodes: [429, 503]",
            &[503, 429, 503, 502, 503, 503],
        ),
        (
            "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [404]",
            &[404, 500, 404, 404],
        ),
        // As it was once read: gateway errors alone.
        ("consecutiveErrors: 1", &[500, 502]),
    ] {
        both_eject_after(detection, provoked).await;
    }
}

#[tokio::test]
async fn the_default_share_of_a_tenth_lets_neither_eject_one_of_three() {
    let trio = Trio::new("{consecutive5xxErrors: 2, interval: 1h, baseEjectionTime: 1h}");
    for who in BOTH {
        let side = trio.stage.enter(who).await;
        let mut client = Client::connect(trio.stage.address()).await;
        trio.provoke(&mut client, &[500; 6]).await;
        eventually(&format!("{side} counts what the share did not allow"), async || {
            let overflow = side.figure("outlier_detection.ejections_overflow").await;
            (overflow == 3).then_some(())
        })
        .await;
        assert_eq!((ejected(&side).await, enforced(&side).await), (0, 0), "{who:?}");
        assert_eq!(trio.round(&mut client).await, [ROUND / 3; 3], "{who:?}");
    }
}

#[tokio::test]
async fn who_was_ejected_comes_back_to_its_share_under_both() {
    let trio = Trio::new("{consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 1s, maxEjectionPercent: 100}");
    for who in BOTH {
        let side = trio.stage.enter(who).await;
        let mut client = Client::connect(trio.stage.address()).await;
        trio.provoke(&mut client, &[500]).await;
        eventually(&format!("{side} ejects"), async || {
            (ejected(&side).await == 1).then_some(())
        })
        .await;
        trio.status.store(200, Relaxed);
        eventually(&format!("{side} lets it come back"), async || {
            (ejected(&side).await == 0).then_some(())
        })
        .await;
        eventually(&format!("{side} gives it its share"), async || {
            (trio.round(&mut client).await == [ROUND / 3; 3]).then_some(())
        })
        .await;
        assert_eq!(enforced(&side).await, 1, "{who:?}");
    }
}
