//! Step 3: more callers than the breaker lets through.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use weft_bookinfo::client::Caller;
use weft_bookinfo::pods::Pod;

use crate::demo::rules::{self, Breaker};
use crate::demo::run::Play;
use crate::demo::{admin, metrics};

/// Who calls at a time.
const CALLERS: usize = 3;
/// How often all of them call at once.
const ROUNDS: usize = 60;
/// What the application takes for a reply: long enough for all callers to meet there.
const SLOW_MS: u32 = 20;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(5);
const FILE: &str = "details-breaker.yaml";
const TARGET: &str = "http://details:9080/details/0";
const CLUSTER: &str = "outbound|9080||details.default.svc.cluster.local";
const OVERFLOW: &str = "envoy_cluster_upstream_rq_pending_overflow";

pub(super) async fn step(play: &Play, figures: &mut Value) -> Result<()> {
    let details = Pod::named("details-v1").context("there is no pod details-v1")?;
    play.apply(FILE).await?;
    let limits = rules::breaker(&play.objects(&[FILE])?, "details")?;
    admin::turn(details, &format!("delay_ms={SLOW_MS}")).await?;
    let called = calls(play, details, limits, figures).await;
    // The page goes on as before, whatever came out.
    let restored = admin::turn(details, "delay_ms=0").await;
    let withdrawn = play.withdraw(FILE).await;
    called.and(restored).and(withdrawn)
}

async fn calls(play: &Play, details: Pod, limits: Breaker, figures: &mut Value) -> Result<()> {
    let sidecar = Pod::named("productpage-v1").context("there is no pod productpage-v1")?;
    let before = overflow(sidecar).await?;
    admin::clear_ledger(details).await?;
    let mut callers: Vec<Caller> = (0..CALLERS).map(|_| Caller::new(sidecar.http_proxy(), LIMIT)).collect();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    let progress = play.view.bar(ROUNDS * CALLERS);
    for round in 1..=ROUNDS {
        let calls = callers.iter_mut().map(|caller| async {
            let request = admin::request(&Method::GET, TARGET, "details:9080")?;
            let reply = caller.call(request).await?;
            let says_so = reply.headers().contains_key("x-envoy-overloaded");
            ensure!(
                says_so == (reply.status() == 503),
                "a {} of somebody else's",
                reply.status().as_u16()
            );
            Ok(reply.status().as_u16())
        });
        for status in join_all(calls).await {
            *statuses.entry(status?).or_default() += 1;
        }
        progress.at(round * CALLERS);
        progress.tell(&shares(&statuses));
    }
    drop(progress);
    let counted = overflow(sidecar).await? - before;
    let most = admin::most_at_once(details).await?;
    *figures = json!({
        "callers": CALLERS,
        "max_connections": limits.connections,
        "http1_max_pending_requests": limits.pending,
        "statuses": statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect::<BTreeMap<_, _>>(),
        "overflow_of_the_proxy": counted,
        "most_at_once_at_details": most,
    });
    let Breaker { connections, pending } = limits;
    play.view.say(&format!(
        "   {CALLERS} callers at a time, {connections} connection(s), {pending} pending: {}",
        shares(&statuses)
    ));
    play.view
        .say(&format!("   the proxy of productpage counts {counted} overflows"));
    play.view.say(&format!(
        "   details had at most {most} of them at once, by its own count"
    ));
    ensure!(
        most <= u64::from(limits.connections),
        "details had {most} requests at once, over a limit of {}",
        limits.connections
    );
    judge(&statuses, counted, limits)
}

fn judge(statuses: &BTreeMap<u16, u64>, counted: u64, limits: Breaker) -> Result<()> {
    let refused = statuses.get(&503).copied().unwrap_or_default();
    let served = statuses.get(&200).copied().unwrap_or_default();
    if let Some((status, count)) = statuses.iter().find(|(status, _)| ![200, 503].contains(*status)) {
        bail!("{count} calls got {status}");
    }
    ensure!(
        refused == counted,
        "callers got {refused} 503s, the proxy counts {counted} overflows"
    );
    ensure!(served > 0, "nobody was served");
    let one_too_many = CALLERS as u64 > u64::from(limits.connections) + u64::from(limits.pending);
    ensure!(!one_too_many || refused > 0, "nobody was refused");
    Ok(())
}

async fn overflow(sidecar: Pod) -> Result<u64> {
    let text = admin::text(sidecar.admin(), "/stats/prometheus").await?;
    Ok(metrics::of_cluster(&metrics::parse(&text), OVERFLOW, CLUSTER))
}

fn shares(statuses: &BTreeMap<u16, u64>) -> String {
    let all: u64 = statuses.values().sum();
    let share = |count: u64| 100.0 * count as f64 / all.max(1) as f64;
    let parts = statuses
        .iter()
        .map(|(status, count)| format!("{count} × {status} ({:.1} %)", share(*count)));
    parts.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_to_be_counted_one_by_one() {
        let (one, many) = (
            Breaker {
                connections: 1,
                pending: 1,
            },
            Breaker {
                connections: 2,
                pending: 1,
            },
        );
        for (statuses, counted, limits, problem) in [
            (vec![(200, 120), (503, 60)], 60, one, None),
            (vec![(200, 120), (503, 60)], 59, one, Some("59 overflows")),
            (vec![(200, 180)], 0, one, Some("nobody was refused")),
            (vec![(200, 180)], 0, many, None),
            (vec![(503, 180)], 180, one, Some("nobody was served")),
            (vec![(200, 178), (502, 2)], 0, many, Some("2 calls got 502")),
        ] {
            let judged = judge(&statuses.iter().copied().collect(), counted, limits);
            assert_eq!(judged.is_err(), problem.is_some(), "{statuses:?}");
            let text = judged.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(problem.unwrap_or_default()), "{text}");
        }
    }
}
