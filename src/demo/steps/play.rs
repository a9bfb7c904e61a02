//! The steps in order, each within its time.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::time::timeout;

use super::{breaker, latency, outlier, shares, user};
use crate::demo::report::Step;
use crate::demo::rules;
use crate::demo::run::Play;
use crate::demo::{diagnose, live};

/// No step takes longer.
const STEP_AFTER: Duration = Duration::from_secs(40);

#[derive(Clone, Copy)]
enum Part {
    Shares,
    User,
    Breaker,
    Outlier,
    Latency,
}

/// The steps and their names.
const PARTS: [(Part, &str); 5] = [
    (
        Part::Shares,
        "a canary: everything to reviews v1, then the shares of the rule",
    ),
    (Part::User, "one user sees another version"),
    (Part::Breaker, "a breaker refuses what is too much, and counts it"),
    (Part::Outlier, "an endpoint that fails is left out, and comes back"),
    (Part::Latency, "latencies out of the proxies' histograms"),
];

/// Plays all steps; one that fails does not keep the others from being played.
pub(in crate::demo) async fn play(play: &Play) -> Vec<Step> {
    let mut steps = Vec::with_capacity(PARTS.len());
    for (index, (part, name)) in PARTS.into_iter().enumerate() {
        play.view.say("");
        play.view.say(&format!("{}. {name}", index + 1));
        let mut figures = Value::Null;
        let done = timeout(STEP_AFTER, one(play, part, &mut figures)).await;
        let done = done.unwrap_or_else(|_| Err(anyhow!("not done after {STEP_AFTER:?}")));
        let problem = match done {
            Ok(()) => None,
            Err(error) => Some(blame(play, &error).await),
        };
        play.view.say(&match &problem {
            None => "   held".to_owned(),
            Some(problem) => format!("   FAILED: {problem}"),
        });
        steps.push(Step {
            name,
            held: problem.is_none(),
            problem,
            figures,
        });
    }
    steps
}

async fn one(play: &Play, part: Part, figures: &mut Value) -> Result<()> {
    // A process that does not answer is found here, not by waiting for each request that it swallows.
    let silent = diagnose::silent(&play.stage).await;
    if !silent.is_empty() {
        return Err(anyhow!("not every process answers"));
    }
    match part {
        Part::Shares => shares::step(play, figures).await,
        Part::User => user::step(play, figures).await,
        Part::Breaker => breaker::step(play, figures).await,
        Part::Outlier => outlier::step(play, figures).await,
        Part::Latency => latency::step(play, figures).await,
    }
}

/// The problem, and which processes have to do with it.
async fn blame(play: &Play, error: &anyhow::Error) -> String {
    let silent = diagnose::silent(&play.stage).await;
    let mut problem = format!("{error:#}");
    for line in silent {
        problem.push_str("; ");
        problem.push_str(&line);
    }
    problem
}

impl Play {
    /// Puts a rule file in force and waits until it is live everywhere; how long that took, in milliseconds.
    pub(super) async fn apply(&self, file: &str) -> Result<u64> {
        self.book.borrow_mut().apply(file)?;
        let text = self.text(file)?;
        let took = live::applied(file, &text, self.stage.proxies().count()).await?;
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.view
            .say(&format!("   {file} is live on every proxy after {took} ms"));
        Ok(took)
    }

    /// Takes a rule file out of force again.
    pub(super) async fn withdraw(&self, file: &str) -> Result<()> {
        let text = self.text(file)?;
        self.book.borrow_mut().withdraw(file)?;
        live::withdrawn(file, &text).await?;
        self.view.say(&format!("   {file} is taken back"));
        Ok(())
    }

    /// What is in force in the place of `file`.
    pub(super) fn text(&self, file: &str) -> Result<String> {
        let book = self.book.borrow();
        let (_, text) = book.current(file).with_context(|| format!("{file} is not in force"))?;
        Ok(text.to_owned())
    }

    /// The objects in force in the places of `files`.
    pub(super) fn objects(&self, files: &[&str]) -> Result<Vec<weft_policies::AnyObject>> {
        let mut objects = Vec::new();
        for file in files {
            objects.extend(rules::objects(file, &self.text(file)?)?);
        }
        Ok(objects)
    }

    /// The shares of reviews that a user meets, by the rule file in force.
    pub(super) fn shares(&self, user: Option<&str>) -> Result<rules::Shares> {
        rules::shares(&self.objects(&["reviews-v1.yaml", "subsets.yaml"])?, "reviews", user)
    }
}
