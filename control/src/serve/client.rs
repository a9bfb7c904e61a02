//! One stream as a state machine without I/O: requests and new resources in, responses out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;
use weft_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use weft_xds::{Batch, LimitExceeded, Received, Resource, Subscription, TypeUrl, delta, sotw};

use super::held_back::{self, Allowed, NAMING, Subscriptions, allowed, removable};
use super::push::{Phase, Push, of_kind};
use crate::generate::ResourceSet;

/// Bytes of resources in one incremental response; a larger change travels in several.
const RESPONSE_BYTES: usize = 1 << 20;

/// The two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Incremental.
    Delta,
    /// State of the world.
    Sotw,
}

/// A response to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Its type.
    pub kind: TypeUrl,
    /// What it carries.
    pub batch: Batch,
}

/// State of one stream.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    subs: Subscriptions,
    newest: Arc<ResourceSet>,
    push: Option<Push>,
    /// Clusters that were sent and whose endpoints the client has yet to ask for.
    expected: BTreeSet<Arc<str>>,
    /// Something came up that the running push does not cover.
    again: bool,
    /// Nonces up to which nobody waits any longer, by type.
    given_up: BTreeMap<TypeUrl, u64>,
    /// Route tables that are kept back, wholly or in part, with the clusters that are missing.
    held_back: BTreeMap<Arc<str>, BTreeSet<String>>,
}

impl Client {
    /// A stream that has said nothing yet.
    pub fn new(protocol: Protocol, resources: Arc<ResourceSet>) -> Self {
        let subs = TypeUrl::ALL
            .into_iter()
            .map(|kind| (kind, Subscription::new(kind)))
            .collect();
        Self {
            protocol,
            subs,
            newest: resources,
            push: None,
            expected: BTreeSet::new(),
            again: false,
            given_up: BTreeMap::new(),
            held_back: BTreeMap::new(),
        }
    }

    /// There are new resources. They wait for the running push to end; several wait as one.
    pub fn update(&mut self, resources: Arc<ResourceSet>) {
        self.newest = resources;
        self.again = true;
    }

    /// Takes a request of the incremental protocol. Call [`Client::advance`] next.
    ///
    /// # Errors
    /// When the client goes beyond a limit.
    pub fn receive_delta(&mut self, kind: TypeUrl, request: &DeltaDiscoveryRequest) -> Result<Received, LimitExceeded> {
        let sub = self.subs.entry(kind).or_insert_with(|| Subscription::new(kind));
        let received = delta::server::receive(sub, request)?;
        self.note(kind, &received);
        Ok(received)
    }

    /// Takes a request of the state-of-the-world protocol. Call [`Client::advance`] next.
    ///
    /// # Errors
    /// When the client goes beyond a limit.
    pub fn receive_sotw(&mut self, kind: TypeUrl, request: &DiscoveryRequest) -> Result<Received, LimitExceeded> {
        let sub = self.subs.entry(kind).or_insert_with(|| Subscription::new(kind));
        let received = sotw::server::receive(sub, request)?;
        self.note(kind, &received);
        Ok(received)
    }

    fn note(&mut self, kind: TypeUrl, received: &Received) {
        let due = self.subs.get(&kind).is_some_and(Subscription::is_answer_due);
        let late = self.given_up.get(&kind).is_some_and(|nonce| match received {
            Received::Ack(batch) | Received::Nack(batch, _) => batch.nonce <= *nonce,
            Received::Subscription | Received::Stale => false,
        });
        // A cluster that is acknowledged at last, or a route that is, may release what was held back.
        self.again |= due || late || (!self.held_back.is_empty() && matches!(received, Received::Ack(_)));
        // What was stated when the stream opened, and is current, is known with its content.
        if due && let Some(sub) = self.subs.get_mut(&kind) {
            let current: Vec<Resource> = sub.asked(of_kind(&self.newest, kind)).cloned().collect();
            for resource in &current {
                sub.ledger_mut().recognise(resource);
            }
        }
    }

    /// All that can be sent now. Call it after every event, and when [`Client::deadline`] has passed.
    pub fn advance(&mut self, now: Instant) -> Vec<Outgoing> {
        let mut out = Vec::new();
        self.answer_owed(&mut out);
        loop {
            let Some(push) = &self.push else {
                if !std::mem::take(&mut self.again) {
                    return out;
                }
                self.push = Some(Push::new(self.newest.clone(), now));
                self.enter(&mut out);
                continue;
            };
            let Some(phase) = push.phase() else {
                self.push = None;
                continue;
            };
            if !self.is_over(phase, now) {
                return out;
            }
            if let Some(push) = &mut self.push {
                push.advance(now);
            }
            self.enter(&mut out);
        }
    }

    /// When the running phase ends whatever the client does.
    pub fn deadline(&self) -> Option<Instant> {
        self.push.as_ref().map(|push| push.deadline)
    }

    /// Whether the client has answered everything that its newest resources mean to it.
    pub fn is_settled(&self) -> bool {
        self.push.is_none() && !self.again && self.subs.values().all(|sub| sub.ledger().in_flight() == 0)
    }

    /// Route tables that keep a last good value, with the clusters that are missing.
    pub fn held_back(&self) -> &BTreeMap<Arc<str>, BTreeSet<String>> {
        &self.held_back
    }

    /// The subscription of a type.
    pub fn subscription(&self, kind: TypeUrl) -> Option<&Subscription> {
        self.subs.get(&kind)
    }

    /// Whether a phase is over: all answered, or out of time.
    fn is_over(&mut self, phase: Phase, now: Instant) -> bool {
        let (Some(push), Some(sub)) = (&mut self.push, self.subs.get(&phase.kind())) else {
            return true;
        };
        let mut waits = sub.ledger().awaits_after(push.waits_after);
        if phase == Phase::Add(TypeUrl::Endpoint) {
            self.expected
                .retain(|name| !sub.interest().wants(name) && push.target.clusters.contains_key(&**name));
            let clusters = self.subs.get(&TypeUrl::Cluster);
            // A refused cluster never asks for its endpoints, and one on its way does so later.
            let taken = |name: &Arc<str>| clusters.is_some_and(|clusters| clusters.ledger().live(name).is_some());
            waits |= self.expected.iter().any(taken);
            if now >= push.deadline {
                // It had its time: not every client asks for the endpoints of every cluster.
                self.expected.retain(|name| !taken(name));
            }
        }
        if waits && now >= push.deadline {
            self.given_up.insert(phase.kind(), sub.ledger().last_nonce());
            return true;
        }
        !waits
    }

    /// Sends what a phase has to say.
    fn enter(&mut self, out: &mut Vec<Outgoing>) {
        let Some((phase, target)) = self
            .push
            .as_ref()
            .and_then(|push| Some((push.phase()?, push.target.clone())))
        else {
            return;
        };
        let kind = phase.kind();
        let is_open = self.subs.get(&kind).is_some_and(Subscription::is_open);
        if is_open {
            match (phase, self.protocol) {
                (Phase::Add(_), Protocol::Delta) => self.add(kind, &target, out),
                (Phase::Remove(_), Protocol::Delta) => {
                    let removals = removable(&self.subs, &target, kind);
                    if !removals.is_empty() {
                        self.send(kind, Vec::new(), removals, out);
                    }
                }
                (_, Protocol::Sotw) if sotw::server::is_whole(kind) => self.send_whole(phase, &target, out),
                (Phase::Add(_), Protocol::Sotw) => self.add_some(kind, &target, out),
                // The protocol has no word for it: the client drops what nothing names.
                (Phase::Remove(_), Protocol::Sotw) => {}
            }
        }
        if let Some(push) = &mut self.push {
            push.waits_after = self.given_up.get(&kind).copied().unwrap_or_default();
        }
    }

    fn add(&mut self, kind: TypeUrl, target: &Arc<ResourceSet>, out: &mut Vec<Outgoing>) {
        let wanted = self.wanted(kind, target);
        if kind == TypeUrl::Cluster {
            self.expect_endpoints(&wanted, target);
        }
        let due = self.subs.get(&kind).is_some_and(Subscription::is_answer_due);
        if wanted.is_empty() && due {
            self.send(kind, Vec::new(), Vec::new(), out);
        }
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for resource in wanted {
            bytes += resource.body.value.len();
            chunk.push(resource);
            if bytes >= RESPONSE_BYTES {
                bytes = 0;
                self.send(kind, std::mem::take(&mut chunk), Vec::new(), out);
            }
        }
        if !chunk.is_empty() {
            self.send(kind, chunk, Vec::new(), out);
        }
    }

    fn add_some(&mut self, kind: TypeUrl, target: &Arc<ResourceSet>, out: &mut Vec<Outgoing>) {
        let wanted = self.wanted(kind, target);
        if !wanted.is_empty()
            && let Some(sub) = self.subs.get_mut(&kind)
        {
            out.push(Outgoing {
                kind,
                batch: sotw::server::send_some(sub, wanted),
            });
        }
    }

    /// All there is, and while additions are under way also what is about to go.
    fn send_whole(&mut self, phase: Phase, target: &Arc<ResourceSet>, out: &mut Vec<Outgoing>) {
        let kind = phase.kind();
        let Some(sub) = self.subs.get(&kind) else { return };
        let set = of_kind(target, kind);
        let mut resources: BTreeMap<Arc<str>, Resource> = sub
            .asked(set)
            // Left out of the whole it would be removed, so what is withheld goes out as it is.
            .map(|resource| held_back::current(&self.subs, target, kind, resource).unwrap_or_else(|| resource.clone()))
            .map(|resource| (resource.name.clone(), resource))
            .collect();
        let removable = match phase {
            Phase::Add(_) => Vec::new(),
            Phase::Remove(_) => removable(&self.subs, target, kind),
        };
        let stays = sub.gone(set).into_iter().filter(|name| !removable.contains(name));
        let stays = stays.filter_map(|name| sub.ledger().live(&name)?.resource.clone());
        resources.extend(stays.map(|resource| (resource.name.clone(), resource)));
        let changed: Vec<Resource> = resources
            .values()
            .filter(|resource| sub.ledger().needs(resource))
            .cloned()
            .collect();
        if phase == Phase::Add(TypeUrl::Cluster) {
            self.expect_endpoints(&changed, target);
            // Envoy warms a changed cluster until endpoints arrive, and may not ask again for names that it has.
            if let Some(endpoints) = self.subs.get_mut(&TypeUrl::Endpoint) {
                changed.iter().for_each(|cluster| endpoints.owe(&cluster.name));
            }
        }
        if let Some(sub) = self.subs.get_mut(&kind)
            && let Some(batch) = sotw::server::send_whole(sub, resources.into_values().collect())
        {
            out.push(Outgoing { kind, batch });
        }
    }

    /// New clusters whose endpoints the client has yet to ask for: routes to them wait until it did.
    fn expect_endpoints(&mut self, clusters: &[Resource], target: &ResourceSet) {
        let endpoints = self.subs.get(&TypeUrl::Endpoint);
        let is_new = |name: &str| !endpoints.is_some_and(|endpoints| endpoints.interest().wants(name));
        let names = clusters.iter().map(|cluster| &cluster.name);
        let names = names.filter(|name| target.endpoints.contains_key(&***name) && is_new(name));
        self.expected.extend(names.cloned());
    }

    /// What of a type goes out now. Route tables and listeners are held back where their clusters are missing.
    fn wanted(&mut self, kind: TypeUrl, target: &Arc<ResourceSet>) -> Vec<Resource> {
        let Some(sub) = self.subs.get(&kind) else {
            return Vec::new();
        };
        let set = of_kind(target, kind);
        if !NAMING.contains(&kind) {
            return sub.wanted(set);
        }
        // Names of one kind are none of the other.
        let mut held_back = std::mem::take(&mut self.held_back);
        let others = NAMING.into_iter().filter(|other| *other != kind);
        let others: Vec<_> = others.map(|other| of_kind(target, other)).collect();
        held_back.retain(|name, _| others.iter().any(|set| set.contains_key(&**name)));
        let mut wanted = Vec::new();
        for resource in sub.asked(set) {
            let resource = match allowed(&self.subs, target, kind, resource) {
                Allowed::Whole(resource) => resource,
                Allowed::Partly(resource, missing) => {
                    held_back.insert(resource.name.clone(), missing);
                    resource
                }
                Allowed::Withheld(missing) => {
                    held_back.insert(resource.name.clone(), missing);
                    continue;
                }
            };
            if sub.owed().contains(&resource.name) || sub.ledger().needs(&resource) {
                wanted.push(resource);
            }
        }
        self.held_back = held_back;
        wanted
    }

    /// Answers names that the client asked for, at once and whatever push is running.
    fn answer_owed(&mut self, out: &mut Vec<Outgoing>) {
        let target = self
            .push
            .as_ref()
            .map_or_else(|| self.newest.clone(), |push| push.target.clone());
        for kind in TypeUrl::ALL {
            let Some(sub) = self.subs.get(&kind).filter(|sub| !sub.owed().is_empty()) else {
                continue;
            };
            if self.protocol == Protocol::Sotw && sotw::server::is_whole(kind) {
                self.again = true;
                continue;
            }
            let (mut upserts, mut removals) = (Vec::new(), Vec::new());
            let removable = removable(&self.subs, &target, kind);
            for name in sub.owed() {
                let last_good = sub.ledger().live(name).and_then(|live| live.resource.clone());
                let found = of_kind(&target, kind).get(&**name);
                match found.map(|found| held_back::current(&self.subs, &target, kind, found)) {
                    Some(Some(resource)) => upserts.push(resource),
                    // Kept back with nothing known to repeat: an answer is owed all the same.
                    Some(None) => upserts.extend(found.cloned()),
                    None if removable.contains(name) => removals.push(name.clone()),
                    None => match last_good {
                        Some(resource) => upserts.push(resource),
                        None => removals.push(name.clone()),
                    },
                }
            }
            match self.protocol {
                Protocol::Delta => self.send(kind, upserts, removals, out),
                Protocol::Sotw => self.answer_some(kind, upserts, out),
            }
        }
    }

    fn answer_some(&mut self, kind: TypeUrl, resources: Vec<Resource>, out: &mut Vec<Outgoing>) {
        let Some(sub) = self.subs.get_mut(&kind) else { return };
        // A name without a resource stays unanswered: the protocol has no word for it.
        let names: Vec<Arc<str>> = sub.owed().iter().cloned().collect();
        names.iter().for_each(|name| sub.settle_owed(name));
        if !resources.is_empty() {
            out.push(Outgoing {
                kind,
                batch: sotw::server::send_some(sub, resources),
            });
        }
    }

    fn send(&mut self, kind: TypeUrl, upserts: Vec<Resource>, removals: Vec<Arc<str>>, out: &mut Vec<Outgoing>) {
        if let Some(sub) = self.subs.get_mut(&kind) {
            out.push(Outgoing {
                kind,
                batch: sub.send(upserts, removals),
            });
        }
    }
}
