//! What became of the play, for programs and for people.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs: one object on standard output at the end of the play
    Json,
}

/// Everything that is worth keeping.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every step held.
    pub(super) held: bool,
    /// The steps, in order.
    pub(super) steps: Vec<Step>,
    /// Where everything is.
    pub(super) addresses: Value,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// What it shows.
    pub(super) name: &'static str,
    /// Whether it came out as the rules say.
    pub(super) held: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// What was observed, beside what was expected.
    pub(super) figures: Value,
}
