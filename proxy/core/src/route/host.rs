use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::action::Route;
use super::redirect::split_port;
use super::table::RequireTls;

/// The routes of a set of authorities.
#[derive(Debug)]
pub struct VirtualHost {
    /// Name for logs.
    pub name: Arc<str>,
    /// The authorities as written: exact, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<Box<str>>,
    /// In order: the first that matches is taken.
    pub routes: Vec<Arc<Route>>,
    /// Whether plain text is sent to TLS.
    pub require_tls: RequireTls,
}

/// Domains that cannot live together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Two virtual hosts claim a domain.
    #[error("domain {0:?} stands twice")]
    Duplicate(Box<str>),
    /// A star in the middle, or an empty text.
    #[error("domain {0:?} is no host, *suffix or prefix*")]
    Malformed(Box<str>),
}

/// How an authority was found. The order is from strongest to weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostMatch {
    /// The very authority.
    Exact,
    /// By its end.
    Suffix,
    /// By its beginning.
    Prefix,
    /// By `*`.
    Any,
}

/// Authority → place of a virtual host.
#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: FxHashMap<Box<str>, u32>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    any: Option<u32>,
}

/// Texts by length, longest first.
type Wildcards = Vec<(usize, FxHashMap<Box<str>, u32>)>;

impl HostIndex {
    pub(super) fn new(hosts: &[VirtualHost]) -> Result<Self, HostError> {
        let mut index = Self::default();
        for (place, host) in (0_u32..).zip(hosts) {
            for domain in &host.domains {
                index.insert(&domain.to_ascii_lowercase(), place)?;
            }
        }
        index.suffixes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        index.prefixes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        Ok(index)
    }

    fn insert(&mut self, domain: &str, place: u32) -> Result<(), HostError> {
        let earlier = match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(""), _) => self.any.replace(place),
            (Some(suffix), None) if !suffix.contains('*') => wildcard(&mut self.suffixes, suffix, place),
            (None, Some(prefix)) if !prefix.contains('*') => wildcard(&mut self.prefixes, prefix, place),
            (None, None) if !domain.is_empty() && !domain.contains('*') => self.exact.insert(domain.into(), place),
            _ => return Err(HostError::Malformed(domain.into())),
        };
        match earlier {
            Some(_) => Err(HostError::Duplicate(domain.into())),
            None => Ok(()),
        }
    }

    /// Exact, then the longest suffix, the longest prefix, then `*`. The authority is in lower case.
    pub(super) fn find(&self, authority: &str) -> Option<(u32, HostMatch)> {
        if let Some(place) = self.exact.get(authority) {
            return Some((*place, HostMatch::Exact));
        }
        // A star stands for at least one character.
        let shorter = |length: usize| length < authority.len();
        let suffix = self
            .suffixes
            .iter()
            .filter(|(length, _)| shorter(*length))
            .find_map(|(length, texts)| authority.get(authority.len() - length..).and_then(|end| texts.get(end)));
        if let Some(place) = suffix {
            return Some((*place, HostMatch::Suffix));
        }
        let prefix = self
            .prefixes
            .iter()
            .filter(|(length, _)| shorter(*length))
            .find_map(|(length, texts)| authority.get(..*length).and_then(|start| texts.get(start)));
        if let Some(place) = prefix {
            return Some((*place, HostMatch::Prefix));
        }
        self.any.map(|place| (place, HostMatch::Any))
    }
}

fn wildcard(wildcards: &mut Wildcards, text: &str, place: u32) -> Option<u32> {
    let at = match wildcards.iter().position(|(length, _)| *length == text.len()) {
        Some(at) => at,
        None => {
            wildcards.push((text.len(), FxHashMap::default()));
            wildcards.len() - 1
        }
    };
    wildcards[at].1.insert(text.into(), place)
}

/// The authority without port.
pub(super) fn without_port(authority: &str) -> &str {
    split_port(authority).0
}
