//! What the proxy has accepted, and what that refers to.

use std::collections::{BTreeMap, BTreeSet};

use weft_xds::delta::client::Update;
use weft_xds::{Rejection, Resource, TypeUrl};

use super::discover;

/// Accepted resources. Their content is kept only where it is to be saved.
#[derive(Default)]
pub(super) struct Accepted {
    keep_content: bool,
    content: BTreeMap<TypeUrl, BTreeMap<String, Resource>>,
    /// Who refers to what, by type and name of the one that refers.
    references: BTreeMap<TypeUrl, BTreeMap<String, Vec<String>>>,
}

impl Accepted {
    pub(super) fn new(keep_content: bool) -> Self {
        Self {
            keep_content,
            ..Self::default()
        }
    }

    /// Notes what was taken of an update. Returns whether anything changed.
    pub(super) fn note(&mut self, update: &Update, rejected: &[Rejection]) -> bool {
        let kind = update.kind;
        let taken = |name: &str| rejected.iter().all(|one| one.name != name);
        let mut changed = false;
        for resource in update.upserts.iter().filter(|resource| taken(&resource.name)) {
            changed = true;
            if let Some((_, names)) = discover::references(kind, resource) {
                self.references
                    .entry(kind)
                    .or_default()
                    .insert(resource.name.to_string(), names);
            }
            // Secrets hold private keys, which never go to disk.
            if self.keep_content && kind != TypeUrl::Secret {
                self.content
                    .entry(kind)
                    .or_default()
                    .insert(resource.name.to_string(), resource.clone());
            }
        }
        for name in update.removals.iter().filter(|name| taken(name)) {
            changed = true;
            for by_name in [self.references.get_mut(&kind)].into_iter().flatten() {
                by_name.remove(name);
            }
            for by_name in [self.content.get_mut(&kind)].into_iter().flatten() {
                by_name.remove(name);
            }
        }
        changed
    }

    /// The names that accepted resources of a type refer to.
    pub(super) fn referred(&self, kind: TypeUrl) -> BTreeSet<String> {
        self.references
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .cloned()
            .collect()
    }

    /// Accepted resources with their content.
    pub(super) fn content(&self) -> &BTreeMap<TypeUrl, BTreeMap<String, Resource>> {
        &self.content
    }
}
