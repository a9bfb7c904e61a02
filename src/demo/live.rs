//! When a file that was put in force is live on every proxy: the control plane knows.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use weft_control::watch::{Event, events_of};

use super::admin::json;
use super::rules;
use super::stage::control_admin;

/// How long that may take.
const LIVE_AFTER: Duration = Duration::from_secs(5);
/// Between two questions.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until every object of the file is in force as it stands there, on `proxies` proxies; how long that took.
pub(super) async fn applied(file: &str, text: &str, proxies: usize) -> Result<Duration> {
    let wanted = stated(file, text)?;
    until(|known| {
        wanted
            .iter()
            .find_map(|(object, generation)| lacks(known, object, generation, proxies))
    })
    .await
}

/// Waits until no object of the file is known any more, and every proxy has what there is.
pub(super) async fn withdrawn(file: &str, text: &str) -> Result<Duration> {
    let gone = stated(file, text)?;
    let waited = until(|known| {
        let left = entries(known).find(|entry| gone.iter().any(|(object, _)| entry["object"] == **object));
        left.map(|entry| format!("{} is still there", entry["object"]))
    });
    let waited = waited.await?;
    let deadline = Instant::now() + LIVE_AFTER;
    loop {
        let proxies = json(control_admin(), "/debug/syncz").await?;
        let late = entries(&proxies).find(|proxy| proxy["synced"] != true);
        match late {
            None => return Ok(waited),
            Some(proxy) if Instant::now() >= deadline => bail!("{} has not taken the change", proxy["node"]),
            Some(_) => sleep(LOOK).await,
        }
    }
}

/// The objects of a file with their generations, as the control plane reads them.
fn stated(file: &str, text: &str) -> Result<Vec<(String, String)>> {
    // Names the error where there is one; the control plane would keep the last good value.
    rules::objects(file, text)?;
    let mut stated = Vec::new();
    for event in events_of([(file, text)]) {
        if let Event::Reset(manifests) = event {
            stated.extend(
                manifests
                    .iter()
                    .map(|manifest| (manifest.key.to_string(), manifest.generation.to_string())),
            );
        }
    }
    Ok(stated)
}

async fn until(problem: impl Fn(&Value) -> Option<String>) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let known = json(control_admin(), "/debug/objects").await?;
        let Some(problem) = problem(&known) else {
            return Ok(started.elapsed());
        };
        if started.elapsed() >= LIVE_AFTER {
            bail!("{problem} after {LIVE_AFTER:?}");
        }
        sleep(LOOK).await;
    }
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What keeps an object from being live everywhere.
fn lacks(known: &Value, object: &str, generation: &str, proxies: usize) -> Option<String> {
    let Some(entry) = entries(known).find(|entry| entry["object"] == object) else {
        return Some(format!("{object} is not read"));
    };
    if entry["in_force"] != generation {
        return Some(format!("{object} is not in force as it stands in its file"));
    }
    let pending: Vec<&str> = entries(&entry["pending_on"]).filter_map(Value::as_str).collect();
    let live = entries(&entry["live_on"]).count();
    match pending.is_empty() && live >= proxies {
        true => None,
        false if pending.is_empty() => Some(format!("{object} is live on {live} of {proxies} proxies")),
        false => Some(format!("{object} is not live on {}", pending.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lacks;

    #[test]
    fn an_object_is_live_once_every_proxy_has_its_newest_generation() {
        let known = |in_force: &str, live: &[&str], pending: &[&str]| json!([{"object": "A/b/c", "in_force": in_force, "live_on": live, "pending_on": pending}]);
        for (known, wanted) in [
            (known("7", &["x", "y"], &[]), None),
            (known("6", &["x", "y"], &[]), Some("not in force")),
            (known("7", &["x"], &["sidecar~y"]), Some("sidecar~y")),
            (known("7", &["x"], &[]), Some("1 of 2")),
            (json!([]), Some("not read")),
        ] {
            let problem = lacks(&known, "A/b/c", "7", 2);
            assert_eq!(problem.is_some(), wanted.is_some(), "{known}");
            assert!(
                problem.unwrap_or_default().contains(wanted.unwrap_or_default()),
                "{known}"
            );
        }
    }
}
