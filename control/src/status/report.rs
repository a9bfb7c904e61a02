//! What the status tells whoever asks: plain values, ready to be written as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use weft_policies::Finding;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In force as it was read.
    Accepted,
    /// Refused; an older value of it is in force.
    LastGood,
    /// Refused, and there never was a good value.
    Refused,
    /// No object: a file that there is something to say about.
    File,
}

/// An object as `/debug/objects` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectReport {
    /// `VirtualService/default/hello`.
    pub object: String,
    /// File and line; absent for files themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What became of it.
    pub state: State,
    /// The generation read last.
    pub generation: String,
    /// The generation in force; absent if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<String>,
    /// Everything there is to say about it.
    pub findings: Vec<FindingReport>,
    /// Nodes that have acknowledged everything generated since the generation in force appeared.
    pub live_on: Vec<String>,
    /// Nodes that have not (yet).
    pub pending_on: Vec<String>,
}

/// A finding, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingReport {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// Code, Istio's where there is one.
    pub code: &'static str,
    /// File and line of the field.
    pub origin: String,
    /// Path of the field.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub fix: String,
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        Self {
            severity: finding.severity.to_string(),
            code: finding.code,
            origin: finding.origin.to_string(),
            path: finding.path.clone(),
            problem: finding.problem.clone(),
            fix: finding.fix.clone(),
        }
    }
}

/// A resource that a proxy has refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// `CDS`, `EDS`, `LDS`, `RDS` or `SDS`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What the proxy says.
    pub problem: String,
}

/// A connected proxy as `/debug/syncz` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProxyReport {
    /// Node id.
    pub node: String,
    /// The newest world that it has acknowledged in full; 0 for none.
    pub world: u64,
    /// Whether that is the newest there is.
    pub synced: bool,
    /// What it refuses at present.
    pub refused: Vec<Refusal>,
}

/// Counts, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects by kind and state.
    pub objects: BTreeMap<(&'static str, State), u64>,
    /// Present findings by severity.
    pub findings: BTreeMap<String, u64>,
    /// Connected proxies.
    pub proxies: u64,
    /// Types that some proxy refuses at present.
    pub refusals: u64,
    /// The newest world.
    pub world: u64,
}
