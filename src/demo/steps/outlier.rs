//! Step 4: one of two endpoints fails for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weft_bookinfo::client::Caller;
use weft_bookinfo::pods::Pod;

use crate::demo::rules::{self, Outliers};
use crate::demo::run::Play;
use crate::demo::{admin, metrics};

/// Calls until the endpoint that fails must have been met often enough: it is drawn for about half of them.
const CALLS: usize = 100;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(3);
/// Between calls while its return is waited for.
const PAUSE: Duration = Duration::from_millis(10);
/// Beyond what the rule says, how late it may come back.
const SLACK: Duration = Duration::from_secs(3);
const FILE: &str = "ratings-outliers.yaml";
const TARGET: &str = "http://ratings:9080/ratings/0";
const CLUSTER: &str = "outbound|9080||ratings.default.svc.cluster.local";
const OUT: &str = "envoy_cluster_outlier_detection_ejections_active";

/// Status and who answered.
type Answers = BTreeMap<(u16, String), usize>;

pub(super) async fn step(play: &Play, figures: &mut Value) -> Result<()> {
    let failing = Pod::named("ratings-a").context("there is no pod ratings-a")?;
    let through = Pod::named("reviews-v2").context("there is no pod reviews-v2")?;
    play.apply(FILE).await?;
    let rule = rules::outliers(&play.objects(&[FILE])?, "ratings")?;
    admin::turn(failing, "fail=true").await?;
    let played = eject(play, failing, through, rule, figures).await;
    // It recovers whatever came out.
    let recovered = admin::turn(failing, "fail=false").await;
    let since = played?;
    recovered?;
    come_back(play, failing, through, rule, since, figures).await
}

/// Calls until the failing endpoint is out; since when it is.
async fn eject(play: &Play, failing: Pod, through: Pod, rule: Outliers, figures: &mut Value) -> Result<Instant> {
    let mut caller = Caller::new(through.http_proxy(), LIMIT);
    let mut answers = Answers::new();
    let mut out_since = Instant::now();
    let progress = play.view.bar(CALLS);
    for call in 1..=CALLS {
        let (status, who) = ask(&mut caller).await?;
        if status != 200 {
            out_since = Instant::now();
        }
        *answers.entry((status, who)).or_default() += 1;
        progress.at(call);
        progress.tell(&describe(&answers));
    }
    drop(progress);
    let text = admin::text(through.admin(), "/stats/prometheus").await?;
    let out = metrics::of_cluster(&metrics::parse(&text), OUT, CLUSTER);
    *figures = json!({
        "consecutive_5xx_errors": rule.errors,
        "answers": answers.iter().map(|((status, who), count)| (format!("{status} {who}"), *count)).collect::<BTreeMap<_, _>>(),
        "ejected": out,
    });
    play.view.say(&format!(
        "   {} fails: {CALLS} calls: {}",
        failing.name,
        describe(&answers)
    ));
    play.view.say(&format!(
        "   the rule ejects after {} errors; the proxy has {out} endpoint out",
        rule.errors
    ));
    judge(&answers, failing.name, rule.errors, out)?;
    Ok(out_since)
}

fn judge(answers: &Answers, failing: &str, errors: u32, out: u64) -> Result<()> {
    let failed = answers.get(&(500, failing.to_owned())).copied().unwrap_or_default();
    let others = answers
        .iter()
        .filter(|((status, who), _)| *status != 200 && (*status, who.as_str()) != (500, failing));
    if let Some(((status, who), count)) = others.into_iter().next() {
        anyhow::bail!("{count} calls got {status} of {who}");
    }
    ensure!(
        failed == errors as usize,
        "{failing} answered {failed} errors before it was out, the rule says {errors}"
    );
    ensure!(out == 1, "the proxy has {out} endpoints out");
    ensure!(answers.keys().any(|(status, _)| *status == 200), "nobody else answered");
    Ok(())
}

/// Calls until the endpoint, that works again, answers.
async fn come_back(
    play: &Play,
    failing: Pod,
    through: Pod,
    rule: Outliers,
    since: Instant,
    figures: &mut Value,
) -> Result<()> {
    let latest = rule.base + rule.interval * 2 + SLACK;
    let spinner = play
        .view
        .spinner(&format!("{} works again and waits for its return", failing.name));
    let mut caller = Caller::new(through.http_proxy(), LIMIT);
    let mut calls = 0_usize;
    let after = loop {
        let (status, who) = ask(&mut caller).await?;
        calls += 1;
        ensure!(status == 200, "while {} was out, {who} answered {status}", failing.name);
        if who == failing.name {
            break since.elapsed();
        }
        ensure!(
            since.elapsed() < latest,
            "{} has not come back after {latest:?}",
            failing.name
        );
        sleep(PAUSE).await;
    };
    drop(spinner);
    figures["back_after_ms"] = json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    figures["base_ejection_time_ms"] = json!(u64::try_from(rule.base.as_millis()).unwrap_or(u64::MAX));
    play.view.say(&format!(
        "   {} is back after {:.1} s (rule {:.1} s, looked at every {:.1} s); all of {calls} calls meanwhile were answered",
        failing.name,
        after.as_secs_f64(),
        rule.base.as_secs_f64(),
        rule.interval.as_secs_f64()
    ));
    ensure!(after >= rule.base, "{} came back before its time", failing.name);
    Ok(())
}

async fn ask(caller: &mut Caller) -> Result<(u16, String)> {
    let reply = caller
        .call(admin::request(&Method::GET, TARGET, "ratings:9080")?)
        .await?;
    let who = reply.headers().get("x-served-by").and_then(|who| who.to_str().ok());
    Ok((reply.status().as_u16(), who.unwrap_or("a proxy").to_owned()))
}

fn describe(answers: &Answers) -> String {
    let parts = answers
        .iter()
        .map(|((status, who), count)| format!("{count} × {status} of {who}"));
    parts.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejection_has_to_come_with_the_configured_error_and_to_hit_nobody_else() {
        let good: [(u16, &str, usize); 3] = [(200, "a", 2), (200, "b", 95), (500, "a", 3)];
        for (answers, out, problem) in [
            (good.to_vec(), 1, None),
            (good.to_vec(), 0, Some("has 0 endpoints out")),
            (vec![(200, "b", 96), (500, "a", 4)], 1, Some("answered 4 errors")),
            (
                vec![(200, "b", 96), (500, "a", 3), (503, "a proxy", 1)],
                1,
                Some("1 calls got 503"),
            ),
            (vec![(500, "a", 3)], 1, Some("nobody else answered")),
        ] {
            let answers: Answers = answers
                .into_iter()
                .map(|(status, who, n)| ((status, who.to_owned()), n))
                .collect();
            let judged = judge(&answers, "a", 3, out);
            assert_eq!(judged.is_err(), problem.is_some(), "{answers:?}");
            let text = judged.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(problem.unwrap_or_default()), "{text}");
        }
    }
}
