//! Step 1: everything to one version, then shares, with visitors all the while.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::demo::live;
use crate::demo::load::{Stream, Tally, visits};
use crate::demo::rules::Shares;
use crate::demo::run::Play;

/// Between two looks at the visitors.
const LOOK: Duration = Duration::from_millis(50);
/// Visits under the first rule, and again while the change comes.
const BEFORE: usize = 100;
/// Visits whose shares are judged.
const COUNTED: usize = 1000;
/// The rule whose shares are judged.
const CANARY: &str = "reviews-50-50.yaml";
/// How far a share may be off, in percent of all: one in any hundred.
const TOLERANCE: f64 = 1.0;
/// Counts that are begun anew because the file was saved meanwhile.
const COUNTS_MAX: usize = 3;

pub(super) async fn step(play: &Play, figures: &mut Value) -> Result<()> {
    let before = one_version(play).await?;
    let stream = Stream::default();
    let counting = async {
        while stream.during_the_change().count() < BEFORE && !stream.is_over() {
            tokio::time::sleep(LOOK).await;
        }
        let live_after = play.apply(CANARY).await;
        match live_after {
            Ok(_) => stream.count(COUNTED),
            Err(_) => stream.end(),
        }
        Ok::<_, anyhow::Error>((live_after?, play.text(CANARY)?))
    };
    let watching = async {
        let progress = play.view.bar(COUNTED);
        loop {
            let counted = stream.counted();
            progress.at(counted.count());
            progress.tell(&counted.beside(&play.shares(None).unwrap_or_default()));
            tokio::time::sleep(LOOK).await;
        }
    };
    let both = async { tokio::join!(stream.run(play.way_in), counting).1 };
    // Cancel safe: the watcher only looks.
    let (live_after, text) = tokio::select! {
        live_after = both => live_after?,
        () = watching => bail!("the view ended"),
    };
    let during = stream.during_the_change();
    let (rule, counted) = settled(play, stream.counted(), text).await?;
    *figures = json!({
        "before": { "visits": before.count(), "versions": before.versions },
        "change": { "visits": during.count(), "failed": during.failures.len(), "live_after_ms": live_after },
        "after": {
            "visits": counted.count(),
            "failed": counted.failures.len(),
            "versions": counted.versions,
            "observed_percent": percents(&counted, &rule),
            "rule_percent": rule,
        },
    });
    judge(play, &during, &counted, &rule)
}

/// Everything to one version.
async fn one_version(play: &Play) -> Result<Tally> {
    play.apply("reviews-v1.yaml").await?;
    let rule = play.shares(None)?;
    let progress = play.view.bar(BEFORE);
    let before = visits(play.way_in, None, BEFORE, &progress, &rule).await?;
    drop(progress);
    play.view.say(&format!(
        "   {BEFORE} visits: {}, {} failed",
        before.beside(&rule),
        before.failures.len()
    ));
    before.judge(&rule, TOLERANCE)?;
    Ok(before)
}

/// Nobody may notice the change, and shares have to be those of the rule.
fn judge(play: &Play, during: &Tally, counted: &Tally, rule: &Shares) -> Result<()> {
    play.view.say(&format!(
        "   {} visits during the change, {} failed",
        during.count(),
        during.failures.len()
    ));
    play.view.say(&format!(
        "   {} visits: {}, {} failed",
        counted.count(),
        counted.beside(rule),
        counted.failures.len()
    ));
    if let Some(first) = during.failures.first() {
        bail!(
            "{} of {} visits failed during the change: {first}",
            during.failures.len(),
            during.count()
        );
    }
    counted.judge(rule, TOLERANCE)?;
    match counted.count() {
        COUNTED => Ok(()),
        other => bail!("only {other} of {COUNTED} visits were made"),
    }
}

/// The count, and the rule that was in force all the while: where the file was saved meanwhile, it is counted anew.
async fn settled(play: &Play, first: Tally, mut text: String) -> Result<(Shares, Tally)> {
    let mut tally = first;
    for _ in 1..COUNTS_MAX {
        let now = play.text(CANARY)?;
        if now == text {
            break;
        }
        play.view.say("   the rule was saved meanwhile: counting again");
        live::applied(CANARY, &now, play.stage.proxies().count()).await?;
        text = now;
        let progress = play.view.bar(COUNTED);
        tally = visits(play.way_in, None, COUNTED, &progress, &play.shares(None)?).await?;
    }
    Ok((play.shares(None)?, tally))
}

fn percents(tally: &Tally, rule: &Shares) -> Shares {
    let all = rule.keys().chain(tally.versions.keys());
    all.map(|version| (version.clone(), (tally.share(version) * 10.0).round() / 10.0))
        .collect()
}
