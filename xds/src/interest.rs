//! Which resources of one type a client asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The name that stands for "all that I should have".
pub const WILDCARD: &str = "*";

/// Names and wildcard of one type on one stream (xDS protocol: "How the client specifies what resources to return").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    wildcard: bool,
    /// Whether any name was ever given on this stream: from then on an empty list no longer means everything.
    explicit: bool,
    names: BTreeSet<Arc<str>>,
}

impl Interest {
    /// Whether the client wants the resource of this name.
    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether the client wants all resources of the type.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that were asked for one by one.
    pub fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }

    /// A request that names nothing: means everything as long as none before it named anything.
    pub(crate) fn unnamed(&mut self, wildcard_allowed: bool) {
        self.wildcard |= wildcard_allowed && !self.explicit;
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, name: &str, wildcard_allowed: bool) {
        self.explicit = true;
        if name == WILDCARD {
            self.wildcard |= wildcard_allowed;
        } else {
            self.names.insert(name.into());
        }
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: &str) {
        if name == WILDCARD {
            self.wildcard = false;
        } else {
            self.names.remove(name);
        }
    }

    /// Puts a whole list in place of what was asked for so far, and returns the names that are new in it.
    pub(crate) fn replace(&mut self, names: &[String], wildcard_allowed: bool) -> Vec<Arc<str>> {
        if names.is_empty() && !self.explicit {
            self.unnamed(wildcard_allowed);
            return Vec::new();
        }
        self.explicit = true;
        self.wildcard = wildcard_allowed && names.iter().any(|name| name == WILDCARD);
        let wanted: BTreeSet<Arc<str>> = names
            .iter()
            .filter(|name| *name != WILDCARD)
            .map(|name| name.as_str().into())
            .collect();
        let added = wanted.difference(&self.names).cloned().collect();
        self.names = wanted;
        added
    }
}
