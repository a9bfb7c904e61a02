//! What is known about one object, and the lines that a change of it is worth.

use weft_policies::{Finding, Origin, Severity};

use super::report::State;
use crate::world::Outcome;

/// What is known about one object or file.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Where it stands; `None` for files.
    pub(super) origin: Option<Origin>,
    /// The generation that was read last.
    pub(super) generation: u64,
    /// The generation in force, if any.
    pub(super) in_force: Option<u64>,
    /// The world in which the generation in force first appeared.
    pub(super) since_world: u64,
    pub(super) findings: Vec<Finding>,
}

impl Entry {
    pub(super) fn state(&self) -> State {
        match self.in_force {
            _ if self.origin.is_none() => State::File,
            Some(generation) if generation == self.generation => State::Accepted,
            Some(_) => State::LastGood,
            None => State::Refused,
        }
    }

    /// The entry after an outcome that becomes visible with `world`; `None` once the object is gone.
    pub(super) fn after(before: Option<&Self>, outcome: Outcome, world: u64) -> Option<Self> {
        match outcome {
            Outcome::Deleted => None,
            Outcome::File(findings) if findings.is_empty() => None,
            Outcome::File(findings) => Some(Self {
                findings,
                ..Self::default()
            }),
            Outcome::Read {
                origin,
                generation,
                in_force,
                findings,
            } => {
                let since_world = match before {
                    Some(before) if before.in_force == in_force => before.since_world,
                    _ => world,
                };
                Some(Self {
                    origin: Some(origin),
                    generation,
                    in_force,
                    since_world,
                    findings,
                })
            }
        }
    }
}

/// The findings that are new since `before`.
pub(super) fn news<'a>(before: &[Finding], now: &'a [Finding]) -> impl Iterator<Item = &'a Finding> {
    let before = before.to_vec();
    // A finding that only moved to another line is no news.
    now.iter().filter(move |finding| {
        !before.iter().any(|known| {
            (known.code, &known.object, &known.path, &known.problem)
                == (finding.code, &finding.object, &finding.path, &finding.problem)
        })
    })
}

/// Writes a finding to the log, at the level of its severity.
pub(super) fn log(finding: &Finding) {
    match finding.severity {
        Severity::Error => tracing::error!("{finding}"),
        Severity::Warning => tracing::warn!("{finding}"),
        Severity::Info => tracing::info!("{finding}"),
    }
}
