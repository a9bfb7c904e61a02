//! Accepted resources of one type, with what people ask about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

/// One accepted resource.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) value: Arc<T>,
    pub(crate) version: Arc<str>,
    pub(crate) updated: Instant,
}

/// A resource that was refused, and is not in force in that version.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) version: Arc<str>,
    pub(crate) reason: String,
}

/// Resources of one type by name.
#[derive(Debug)]
pub(crate) struct Accepted<T> {
    entries: BTreeMap<Arc<str>, Entry<T>>,
    refused: BTreeMap<Arc<str>, Refused>,
}

impl<T> Default for Accepted<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }
}

impl<T> Accepted<T> {
    /// Puts a resource in force.
    pub(crate) fn accept(&mut self, name: Arc<str>, version: Arc<str>, value: Arc<T>) {
        self.refused.remove(&name);
        self.entries.insert(
            name,
            Entry {
                value,
                version,
                updated: Instant::now(),
            },
        );
    }

    /// Remembers a refusal; what was in force under the name stays.
    pub(crate) fn refuse(&mut self, name: Arc<str>, version: Arc<str>, reason: String) {
        self.refused.insert(name, Refused { version, reason });
    }

    /// Takes a resource out of force.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Entry<T>> {
        self.refused.remove(name);
        self.entries.remove(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<T>> {
        self.entries.get(name).map(|entry| &entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry<T>)> {
        self.entries.iter()
    }

    pub(crate) fn refused(&self) -> impl Iterator<Item = (&Arc<str>, &Refused)> {
        self.refused.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
