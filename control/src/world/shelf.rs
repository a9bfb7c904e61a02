//! The policies of one kind, by name, handed out in order of precedence.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_policies::{Object, precedence};

use super::{NamespacedName, Policies};

/// The accepted objects of one kind. Ordering happens once per batch of changes, not once per change.
#[derive(Debug)]
pub(super) struct Shelf<S> {
    objects: BTreeMap<NamespacedName, Arc<Object<S>>>,
    stale: bool,
}

impl<S> Default for Shelf<S> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            stale: false,
        }
    }
}

impl<S> Shelf<S> {
    pub(super) fn put(&mut self, name: NamespacedName, object: Arc<Object<S>>) {
        self.objects.insert(name, object);
        self.stale = true;
    }

    pub(super) fn remove(&mut self, name: &NamespacedName) {
        self.stale |= self.objects.remove(name).is_some();
    }

    /// Brings `list` up to date, if anything has changed since the last time.
    pub(super) fn arrange(&mut self, list: &mut Policies<S>) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut sorted: Vec<_> = self.objects.values().cloned().collect();
        precedence::sort_by_age(&mut sorted);
        *list = Arc::new(sorted);
    }
}
