//! A world out of text, for whoever asks about a configuration that is not running.

use std::sync::Arc;

use weft_policies::Finding;

use super::{Outcome, World, Writer};
use crate::watch::events_of;

/// The world that files (path and text) describe, and everything there is to say about them.
pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Arc<World>, Vec<Finding>) {
    let mut writer = Writer::default();
    let verdicts = writer.apply(events_of(files));
    let mut findings: Vec<_> = verdicts
        .into_iter()
        .flat_map(|verdict| match verdict.outcome {
            Outcome::Read { findings, .. } | Outcome::File(findings) => findings,
            Outcome::Deleted => Vec::new(),
        })
        .collect();
    findings.sort_by(|a, b| (&a.origin, &a.path).cmp(&(&b.origin, &b.path)));
    (writer.publish().unwrap_or_default(), findings)
}
