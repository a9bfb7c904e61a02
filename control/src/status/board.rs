//! The table of all objects and proxies. Many write, anybody asks; no request of the mesh passes here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use weft_policies::Finding;
use weft_xds::TypeUrl;

use super::object::{Entry, log, news};
use super::report::{FindingReport, ObjectReport, ProxyReport, Refusal, State, Summary};
use crate::world::{Kind, ObjectKey, Verdict};

/// Findings of plans that are kept; beyond it they are only counted by the log.
const NOTES_MAX: usize = 10_000;

/// What is known about every object and every connected proxy.
#[derive(Debug, Default)]
pub struct Board {
    // A plain mutex: it is taken per configuration change and per question of an operator.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<ObjectKey, Entry>,
    /// What planning had to say, by the node that it planned for.
    notes: BTreeMap<String, Vec<Finding>>,
    proxies: BTreeMap<String, Proxy>,
    world: u64,
}

#[derive(Debug, Default)]
struct Proxy {
    /// Streams that it has open: an old one may end after the new one has begun.
    streams: u32,
    world: u64,
    refused: BTreeMap<TypeUrl, String>,
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every update leaves the table whole, so a panic elsewhere is no reason to lose it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what became of objects, visible from `world` on, and logs what is new about them.
    pub fn record(&self, verdicts: Vec<Verdict>, world: u64) {
        let mut inner = self.inner();
        inner.world = world;
        for Verdict { key, outcome } in verdicts {
            let before = inner.objects.remove(&key);
            let after = Entry::after(before.as_ref(), outcome, world);
            log_change(&key, before.as_ref(), after.as_ref());
            if let Some(after) = after {
                inner.objects.insert(key, after);
            }
        }
    }

    /// Takes in what planning for a node had to say; replaces what it said before, and logs what is new.
    pub fn note(&self, node: &str, findings: &[Finding]) {
        let mut inner = self.inner();
        let known: Vec<Finding> = inner.notes.values().flatten().cloned().collect();
        // Ten gateways with the same problem are one line.
        news(&known, findings).for_each(log);
        match findings.is_empty() {
            true => inner.notes.remove(node),
            false => inner
                .notes
                .insert(node.to_owned(), findings[..findings.len().min(NOTES_MAX)].to_vec()),
        };
    }

    /// A proxy has opened a stream.
    pub fn connected(&self, node: &str) {
        self.inner().proxies.entry(node.to_owned()).or_default().streams += 1;
        tracing::info!("proxy {node} connected");
    }

    /// A stream of a proxy has ended.
    pub fn disconnected(&self, node: &str) {
        let mut inner = self.inner();
        let Some(proxy) = inner.proxies.get_mut(node) else {
            return;
        };
        proxy.streams = proxy.streams.saturating_sub(1);
        if proxy.streams == 0 {
            inner.proxies.remove(node);
            inner.notes.remove(node);
            tracing::info!("proxy {node} disconnected");
        }
    }

    /// A proxy has acknowledged everything that the given world means to it.
    pub fn synced(&self, node: &str, world: u64) {
        if let Some(proxy) = self.inner().proxies.get_mut(node) {
            proxy.world = proxy.world.max(world);
        }
    }

    /// A proxy has refused resources of a type; logged once per change.
    pub fn refused(&self, node: &str, kind: TypeUrl, problem: &str) {
        let mut inner = self.inner();
        let Some(proxy) = inner.proxies.get_mut(node) else {
            return;
        };
        if proxy.refused.insert(kind, problem.to_owned()).as_deref() != Some(problem) {
            tracing::error!("proxy {node} refuses {kind}: {problem}; it keeps what it had");
        }
    }

    /// A proxy has accepted what it was sent of a type last.
    pub fn accepted(&self, node: &str, kind: TypeUrl) {
        if let Some(proxy) = self.inner().proxies.get_mut(node)
            && proxy.refused.remove(&kind).is_some()
        {
            tracing::info!("proxy {node} accepts {kind} again");
        }
    }

    /// Every object, in order of kind, namespace and name.
    pub fn objects(&self) -> Vec<ObjectReport> {
        let inner = self.inner();
        inner
            .objects
            .iter()
            .map(|(key, entry)| inner.object(key, entry))
            .collect()
    }

    /// Every connected proxy.
    pub fn proxies(&self) -> Vec<ProxyReport> {
        let inner = self.inner();
        let report = |(node, proxy): (&String, &Proxy)| ProxyReport {
            node: node.clone(),
            world: proxy.world,
            synced: proxy.world == inner.world && proxy.refused.is_empty(),
            refused: proxy
                .refused
                .iter()
                .map(|(kind, problem)| Refusal {
                    kind: kind.short(),
                    problem: problem.clone(),
                })
                .collect(),
        };
        inner.proxies.iter().map(report).collect()
    }

    /// Counts of everything.
    pub fn summary(&self) -> Summary {
        let inner = self.inner();
        let mut summary = Summary {
            proxies: inner.proxies.len() as u64,
            refusals: inner.proxies.values().map(|proxy| proxy.refused.len() as u64).sum(),
            world: inner.world,
            ..Summary::default()
        };
        for (key, entry) in &inner.objects {
            if key.kind != Kind::File {
                *summary.objects.entry((key.kind.as_str(), entry.state())).or_default() += 1;
            }
        }
        let notes = inner.notes.values().flatten();
        for finding in inner.objects.values().flat_map(|entry| &entry.findings).chain(notes) {
            *summary.findings.entry(finding.severity.to_string()).or_default() += 1;
        }
        summary
    }
}

impl Inner {
    fn object(&self, key: &ObjectKey, entry: &Entry) -> ObjectReport {
        let own = |finding: &&Finding| {
            let object = &finding.object;
            object.kind == key.kind.as_str() && object.namespace == *key.name.namespace && object.name == *key.name.name
        };
        let mut findings: Vec<FindingReport> = entry.findings.iter().map(FindingReport::from).collect();
        for note in self.notes.values().flatten().filter(own).map(FindingReport::from) {
            if !findings.contains(&note) {
                findings.push(note);
            }
        }
        let in_force = entry.in_force.is_some();
        let nodes = |live: bool| {
            let matching = self
                .proxies
                .iter()
                .filter(|(_, proxy)| in_force && (proxy.world >= entry.since_world) == live);
            matching.map(|(node, _)| node.clone()).collect()
        };
        ObjectReport {
            object: match key.kind {
                Kind::File => format!("File {}", key.name.name),
                _ => key.to_string(),
            },
            origin: entry.origin.as_ref().map(ToString::to_string),
            state: entry.state(),
            // As text: JSON numbers lose digits beyond 2^53.
            generation: entry.generation.to_string(),
            in_force: entry.in_force.map(|generation| generation.to_string()),
            findings,
            live_on: nodes(true),
            pending_on: nodes(false),
        }
    }
}

/// One line for each new finding, and one when the object's state turns.
fn log_change(key: &ObjectKey, before: Option<&Entry>, after: Option<&Entry>) {
    let known = before.map(|entry| entry.findings.as_slice()).unwrap_or_default();
    if let Some(after) = after {
        news(known, &after.findings).for_each(log);
    }
    let state = |entry: Option<&Entry>| entry.map(Entry::state);
    match (state(before), state(after)) {
        (was, Some(State::LastGood)) if was != Some(State::LastGood) => {
            tracing::warn!("{key}: refused as it stands; its last good value stays in force");
        }
        (Some(State::Refused | State::LastGood), Some(State::Accepted)) => tracing::info!("{key}: accepted again"),
        (Some(State::File), None) => tracing::info!("{}: in order again", key.name.name),
        _ => {}
    }
}
