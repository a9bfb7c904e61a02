//! Step 2: one user is sent elsewhere, the others are not.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::demo::load::visits;
use crate::demo::run::Play;

/// Who is sent elsewhere.
const USER: &str = "jason";
/// Somebody who is signed in as well, and is not.
const OTHER: &str = "anna";
/// Visits of each.
const VISITS: usize = 200;
/// How far a share may be off, in percent of all.
const TOLERANCE: f64 = 1.0;

pub(super) async fn step(play: &Play, figures: &mut Value) -> Result<()> {
    play.apply("reviews-jason.yaml").await?;
    let mut all = serde_json::Map::new();
    let mut judged = Ok(());
    for user in [Some(USER), Some(OTHER), None] {
        let who = user.unwrap_or("nobody signed in");
        let rule = play.shares(user)?;
        let progress = play.view.bar(VISITS);
        let met = visits(play.way_in, user, VISITS, &progress, &rule).await?;
        drop(progress);
        play.view.say(&format!(
            "   {who}: {VISITS} visits: {}, {} failed",
            met.beside(&rule),
            met.failures.len()
        ));
        let figure = json!({
            "visits": met.count(),
            "failed": met.failures.len(),
            "versions": met.versions,
            "rule_percent": rule,
        });
        all.insert(who.to_owned(), figure);
        judged = judged.and_then(|()| met.judge(&rule, TOLERANCE).with_context(|| who.to_owned()));
    }
    *figures = Value::Object(all);
    judged
}
