//! The client's half of the incremental protocol.
//!
//! Nothing is ever unlearnt because a stream broke: what is held stays held, is stated on the next stream, and only
//! an explicit removal takes it away. A version that was refused is never stated as held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::nack::{Rejection, error_detail};
use crate::pb::core::Node;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::{Resource, TypeUrl, WILDCARD};

/// What one response asks to change. Apply it, then [`Client::settle`] it with what was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The type of all of them.
    pub kind: TypeUrl,
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Names that exist no longer. Some may be unknown: a name that was asked for may not exist.
    pub removals: Vec<String>,
    /// Echoed in the answer.
    nonce: String,
    /// Set when the response as a whole cannot be used.
    malformed: Vec<Rejection>,
}

impl Update {
    /// Resources of an earlier run, to enter by the same door. There is nobody to answer.
    pub fn restored(kind: TypeUrl, upserts: Vec<Resource>) -> Self {
        Self {
            kind,
            upserts,
            removals: Vec::new(),
            nonce: String::new(),
            malformed: Vec::new(),
        }
    }

    /// Names that are no longer of interest, to be dropped by the same door.
    pub fn dropped(kind: TypeUrl, removals: Vec<String>) -> Self {
        Self {
            kind,
            upserts: Vec::new(),
            removals,
            nonce: String::new(),
            malformed: Vec::new(),
        }
    }
}

/// A response that cannot be taken to belong to any type that is spoken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("response of unknown type {0:?}")]
pub struct UnknownType(pub String);

#[derive(Debug, Default)]
struct TypeState {
    wildcard: bool,
    names: BTreeSet<String>,
    /// Version of each accepted resource.
    held: BTreeMap<String, Arc<str>>,
    /// Whether a request was sent on this stream.
    opened: bool,
    /// Whether any response came on this stream.
    answered: bool,
    /// Names that no response of this stream has mentioned yet and that are not held either.
    awaited: BTreeSet<String>,
}

/// What a proxy holds and asks for, over any number of streams.
#[derive(Debug, Default)]
pub struct Client {
    node: Node,
    node_sent: bool,
    types: BTreeMap<TypeUrl, TypeState>,
}

impl Client {
    /// A client that asks for everything of the `wildcard` types; names of other types come as they are discovered.
    pub fn new(node: Node, wildcard: &[TypeUrl]) -> Self {
        let open = |kind: &TypeUrl| {
            (
                *kind,
                TypeState {
                    wildcard: true,
                    ..TypeState::default()
                },
            )
        };
        Self {
            node,
            node_sent: false,
            types: wildcard.iter().map(open).collect(),
        }
    }

    /// The first requests of a new stream, in push order, stating what is held.
    pub fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.node_sent = false;
        for state in self.types.values_mut() {
            state.opened = false;
            state.answered = false;
        }
        let kinds: Vec<TypeUrl> = self.types.keys().copied().collect();
        kinds.into_iter().filter_map(|kind| self.open(kind)).collect()
    }

    fn open(&mut self, kind: TypeUrl) -> Option<DeltaDiscoveryRequest> {
        let state = self.types.entry(kind).or_default();
        if !state.wildcard && state.names.is_empty() {
            return None;
        }
        state.opened = true;
        let mut names: Vec<String> = state.names.iter().cloned().collect();
        if state.wildcard {
            names.push(WILDCARD.to_owned());
        }
        let versions = state
            .held
            .iter()
            .map(|(name, version)| (name.clone(), version.to_string()))
            .collect();
        Some(DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            initial_resource_versions: versions,
            ..self.request(kind)
        })
    }

    fn request(&mut self, kind: TypeUrl) -> DeltaDiscoveryRequest {
        // The node need only be stated once on a stream.
        let node = (!self.node_sent).then(|| self.node.clone());
        self.node_sent = true;
        DeltaDiscoveryRequest {
            node,
            type_url: kind.as_str().to_owned(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    /// Asks for exactly these names of a type. Returns the request, if anything differs, and the held names that are
    /// no longer of interest; those count as held no more.
    pub fn subscribe(
        &mut self,
        kind: TypeUrl,
        wanted: BTreeSet<String>,
    ) -> (Option<DeltaDiscoveryRequest>, Vec<String>) {
        let state = self.types.entry(kind).or_default();
        if state.names == wanted {
            return (None, Vec::new());
        }
        let added: Vec<String> = wanted.difference(&state.names).cloned().collect();
        let gone: Vec<String> = state.names.difference(&wanted).cloned().collect();
        let dropped = gone
            .iter()
            .filter(|name| state.held.remove(*name).is_some())
            .cloned()
            .collect();
        state
            .awaited
            .extend(added.iter().filter(|name| !state.held.contains_key(*name)).cloned());
        state.awaited.retain(|name| wanted.contains(name));
        state.names = wanted;
        if !self.node_sent {
            // No stream: the next one states the whole list.
            return (None, dropped);
        }
        if !state.opened {
            return (self.open(kind), dropped);
        }
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: added,
            resource_names_unsubscribe: gone,
            ..self.request(kind)
        };
        (Some(request), dropped)
    }

    /// The stream is gone. What is held stays.
    pub fn disconnect(&mut self) {
        self.node_sent = false;
    }

    /// Reads a response: what to change. A name that occurs twice spoils the whole response (xDS protocol).
    ///
    /// # Errors
    /// When the type is none that is spoken. There is nothing to answer to.
    pub fn receive(&mut self, response: DeltaDiscoveryResponse) -> Result<Update, UnknownType> {
        let kind = TypeUrl::parse(&response.type_url).ok_or_else(|| UnknownType(response.type_url.clone()))?;
        let mut update = Update {
            kind,
            upserts: Vec::with_capacity(response.resources.len()),
            removals: Vec::new(),
            nonce: response.nonce,
            malformed: Vec::new(),
        };
        let state = self.types.entry(kind).or_default();
        state.answered = true;
        let mut seen = BTreeSet::new();
        for resource in response.resources {
            if !seen.insert(resource.name.clone()) {
                let reason = "occurs twice in one response".to_owned();
                update.malformed.push(Rejection {
                    name: resource.name.clone(),
                    reason,
                });
            }
            state.awaited.remove(&resource.name);
            match resource.resource {
                Some(body) if state.wildcard || state.names.contains(&resource.name) => update.upserts.push(Resource {
                    name: resource.name.as_str().into(),
                    version: resource.version.as_str().into(),
                    body: Arc::new(body),
                }),
                // A heartbeat without content, or something that nobody asked for.
                _ => {}
            }
        }
        if !update.malformed.is_empty() {
            update.upserts.clear();
            return Ok(update);
        }
        for name in response.removed_resources {
            state.awaited.remove(&name);
            update.removals.push(name);
        }
        Ok(update)
    }

    /// Answers a response: refused resources keep their last good version, all others are held from now on.
    /// `None` for an update that did not come from a server.
    pub fn settle(&mut self, update: &Update, rejected: &[Rejection]) -> Option<DeltaDiscoveryRequest> {
        let state = self.types.entry(update.kind).or_default();
        let is_rejected = |name: &str| rejected.iter().any(|one| one.name == name);
        for resource in update.upserts.iter().filter(|resource| !is_rejected(&resource.name)) {
            // What came from disk is held without any response having mentioned it.
            state.awaited.remove(&*resource.name);
            state.held.insert(resource.name.to_string(), resource.version.clone());
        }
        for name in update.removals.iter().filter(|name| !is_rejected(name)) {
            state.held.remove(name);
        }
        if update.nonce.is_empty() {
            return None;
        }
        let refused: Vec<Rejection> = update.malformed.iter().chain(rejected).cloned().collect();
        let answer = DeltaDiscoveryRequest {
            response_nonce: update.nonce.clone(),
            error_detail: error_detail(&refused),
            ..self.request(update.kind)
        };
        Some(answer)
    }

    /// Versions held of a type, by name.
    pub fn held(&self, kind: TypeUrl) -> impl Iterator<Item = (&str, &str)> {
        let state = self.types.get(&kind);
        state.into_iter().flat_map(|state| {
            state
                .held
                .iter()
                .map(|(name, version)| (name.as_str(), version.as_ref()))
        })
    }

    /// Names asked for one by one.
    pub fn names(&self, kind: TypeUrl) -> impl Iterator<Item = &str> {
        self.types
            .get(&kind)
            .into_iter()
            .flat_map(|state| state.names.iter().map(String::as_str))
    }

    /// Whether every wildcard was answered on this stream and no name is still awaited.
    pub fn is_complete(&self) -> bool {
        self.types
            .values()
            .all(|state| (!state.wildcard || state.answered) && state.awaited.is_empty())
    }
}
