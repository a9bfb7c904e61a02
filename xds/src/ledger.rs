//! What one client holds of one type, what is on its way to it, and what it refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Resource;

/// What a client is known to hold under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The version that it acknowledged, or stated when it connected.
    pub version: Arc<str>,
    /// Its content; absent when an earlier server sent it.
    pub resource: Option<Resource>,
}

/// A version that a client refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The refused version. It is not sent again until the content changes.
    pub version: Arc<str>,
    /// What the client said.
    pub reason: Arc<str>,
}

/// All that is known about one name at one client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Holding {
    /// What it uses.
    pub live: Option<Live>,
    /// Nonce and version on the way; no version for a removal.
    pub sent: Option<(u64, Option<Arc<str>>)>,
    /// What it refused last.
    pub rejected: Option<Rejected>,
}

/// What one response carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Unique on the stream and type.
    pub nonce: u64,
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Names that exist no longer.
    pub removals: Vec<Arc<str>>,
}

/// How a client took a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Ack,
    /// Not these, with a reason each; the rest was taken.
    Some(BTreeMap<String, String>),
    /// Something in it; the client does not say what, so nothing counts as taken.
    Nack(String),
}

/// Bookkeeping of one type on one stream.
#[derive(Debug, Default)]
pub struct Ledger {
    holdings: BTreeMap<Arc<str>, Holding>,
    in_flight: BTreeMap<u64, Batch>,
    last_nonce: u64,
}

impl Ledger {
    /// What is known, by name.
    pub fn holdings(&self) -> &BTreeMap<Arc<str>, Holding> {
        &self.holdings
    }

    /// What the client uses under this name.
    pub fn live(&self, name: &str) -> Option<&Live> {
        self.holdings.get(name)?.live.as_ref()
    }

    /// Responses that are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a response newer than this nonce is not answered yet.
    pub fn awaits_after(&self, nonce: u64) -> bool {
        self.in_flight.range(nonce + 1..).next().is_some()
    }

    /// The nonce of the newest response; 0 before the first.
    pub fn last_nonce(&self) -> u64 {
        self.last_nonce
    }

    /// Whether this version of the resource has still to be sent.
    pub fn needs(&self, resource: &Resource) -> bool {
        let Some(holding) = self.holdings.get(&resource.name) else {
            return true;
        };
        if holding
            .rejected
            .as_ref()
            .is_some_and(|rejected| rejected.version == resource.version)
        {
            return false;
        }
        match &holding.sent {
            Some((_, version)) => version.as_ref() != Some(&resource.version),
            None => holding
                .live
                .as_ref()
                .is_none_or(|live| live.version != resource.version),
        }
    }

    /// Whether the client may have something under this name of which no removal is on its way.
    pub fn may_hold(&self, name: &str) -> bool {
        self.holdings
            .get(name)
            .is_some_and(|holding| !matches!(holding.sent, Some((_, None))))
    }

    /// The client says that it holds this version from an earlier stream.
    pub(crate) fn state(&mut self, name: &str, version: &str) {
        let live = Live {
            version: version.into(),
            resource: None,
        };
        self.holdings.entry(name.into()).or_default().live = Some(live);
    }

    /// The body of what the client stated turns out to be known.
    pub fn recognise(&mut self, resource: &Resource) {
        if let Some(live) = self
            .holdings
            .get_mut(&resource.name)
            .and_then(|holding| holding.live.as_mut())
            && live.version == resource.version
            && live.resource.is_none()
        {
            live.resource = Some(resource.clone());
        }
    }

    /// The client is no longer interested in this name.
    pub(crate) fn forget(&mut self, name: &str) {
        self.holdings.remove(name);
    }

    /// Notes what is about to be sent, and gives it a nonce.
    pub(crate) fn send(&mut self, upserts: Vec<Resource>, removals: Vec<Arc<str>>) -> Batch {
        self.last_nonce += 1;
        let nonce = self.last_nonce;
        for resource in &upserts {
            let holding = self.holdings.entry(resource.name.clone()).or_default();
            holding.sent = Some((nonce, Some(resource.version.clone())));
        }
        for name in &removals {
            self.holdings.entry(name.clone()).or_default().sent = Some((nonce, None));
        }
        let batch = Batch {
            nonce,
            upserts,
            removals,
        };
        self.in_flight.insert(nonce, batch.clone());
        batch
    }

    /// The client answered. Returns what it answered to, or `None` for a nonce that is not in flight.
    pub(crate) fn settle(&mut self, nonce: u64, verdict: &Verdict) -> Option<Batch> {
        let batch = self.in_flight.remove(&nonce)?;
        for resource in &batch.upserts {
            // A holding may be gone: the client lost interest while the response was on its way.
            let Some(holding) = self.holdings.get_mut(&resource.name) else {
                continue;
            };
            if holding.sent.as_ref().is_some_and(|(sent, _)| *sent == nonce) {
                holding.sent = None;
            }
            let reason = match verdict {
                Verdict::Ack => None,
                Verdict::Some(bad) => bad.get(&*resource.name),
                Verdict::Nack(reason) => Some(reason),
            };
            let unchanged = holding
                .live
                .as_ref()
                .is_some_and(|live| live.version == resource.version);
            match reason {
                Some(reason) if !unchanged => {
                    holding.rejected = Some(Rejected {
                        version: resource.version.clone(),
                        reason: reason.as_str().into(),
                    });
                }
                Some(_) => {}
                None => {
                    let live = Live {
                        version: resource.version.clone(),
                        resource: Some(resource.clone()),
                    };
                    *holding = Holding {
                        live: Some(live),
                        sent: holding.sent.take(),
                        rejected: None,
                    };
                }
            }
        }
        for name in &batch.removals {
            let removed = |holding: &Holding| holding.sent.as_ref().is_some_and(|(sent, _)| *sent == nonce);
            if self.holdings.get(name).is_some_and(removed) {
                self.holdings.remove(name);
            }
        }
        Some(batch)
    }
}
