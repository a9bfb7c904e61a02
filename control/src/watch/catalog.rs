//! Which file owns an object, and what the world has been told about it.
//!
//! A file *shows* an object that stands in it now, and *holds* one that stood in it when it was last whole: while a
//! file does not parse, or has only just lost an object, the object's last value stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weft_policies::{Finding, ObjectRef, Severity};

use super::{Event, Manifest, codes};
use crate::world::ObjectKey;

/// The objects of all files.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<PathBuf, BTreeSet<ObjectKey>>,
    copies: BTreeMap<ObjectKey, BTreeMap<PathBuf, Copy>>,
    /// What the world has been told: which copy of each object.
    told: BTreeMap<ObjectKey, Arc<Manifest>>,
}

/// One file's copy of an object.
#[derive(Debug)]
struct Copy {
    manifest: Arc<Manifest>,
    held: bool,
}

/// What happens to the objects that a file no longer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// They stay in force.
    Hold,
    /// They are gone.
    Remove,
}

impl Catalog {
    /// Takes in what a file shows now. Returns the objects concerned, in order; [`Catalog::tell`] turns them into events.
    pub(super) fn update(&mut self, file: &Path, shown: Vec<Manifest>, missing: Missing) -> BTreeSet<ObjectKey> {
        let mut concerned = self.files.get(file).cloned().unwrap_or_default();
        let keys: BTreeSet<_> = shown.iter().map(|manifest| manifest.key.clone()).collect();
        let mut owned = keys.clone();
        for key in concerned.difference(&keys) {
            let Some(copies) = self.copies.get_mut(key) else {
                continue;
            };
            match missing {
                Missing::Remove => {
                    copies.remove(file);
                    if copies.is_empty() {
                        self.copies.remove(key);
                    }
                }
                Missing::Hold => {
                    if let Some(copy) = copies.get_mut(file) {
                        copy.held = true;
                        owned.insert(key.clone());
                    }
                }
            }
        }
        for manifest in shown {
            let copy = Copy {
                manifest: Arc::new(manifest),
                held: false,
            };
            self.copies
                .entry(copy.manifest.key.clone())
                .or_default()
                .insert(file.to_owned(), copy);
        }
        match owned.is_empty() {
            true => self.files.remove(file),
            false => self.files.insert(file.to_owned(), owned),
        };
        concerned.extend(keys);
        concerned
    }

    /// Whether the file shows or holds an object that is not among `shown`.
    pub(super) fn would_lose(&self, file: &Path, shown: &[Manifest]) -> bool {
        let keys: BTreeSet<_> = shown.iter().map(|manifest| &manifest.key).collect();
        self.files
            .get(file)
            .is_some_and(|owned| owned.iter().any(|key| !keys.contains(key)))
    }

    /// Whether the file shows or holds the object.
    pub(super) fn has(&self, file: &Path, key: &ObjectKey) -> bool {
        self.files.get(file).is_some_and(|owned| owned.contains(key))
    }

    /// What the world has to learn about these objects.
    pub(super) fn tell(&mut self, concerned: BTreeSet<ObjectKey>) -> Vec<Event> {
        let mut events = Vec::new();
        for key in concerned {
            match self.copies.get(&key).and_then(winner) {
                Some((_, copy)) if self.told.get(&key).is_some_and(|told| same(told, &copy.manifest)) => {}
                Some((_, copy)) => {
                    self.told.insert(key, copy.manifest.clone());
                    events.push(Event::Apply(copy.manifest.clone()));
                }
                None => {
                    self.told.remove(&key);
                    events.push(Event::Delete(key));
                }
            }
        }
        events
    }

    /// Every object there is, as one reset.
    pub(super) fn tell_all(&mut self) -> Event {
        let winners = self
            .copies
            .iter()
            .filter_map(|(key, copies)| Some((key, winner(copies)?.1)));
        self.told = winners
            .map(|(key, copy)| (key.clone(), copy.manifest.clone()))
            .collect();
        Event::Reset(self.told.values().cloned().collect())
    }

    /// The files that show one of these objects: what is said about them may have changed.
    pub(super) fn files_with(&self, keys: &BTreeSet<ObjectKey>) -> BTreeSet<PathBuf> {
        keys.iter()
            .filter_map(|key| self.copies.get(key))
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect()
    }

    /// The objects of a file that another file, earlier in order, shows as well.
    pub(super) fn overshadowed(&self, file: &Path) -> Vec<Finding> {
        let owned = self.files.get(file).into_iter().flatten();
        let lost = owned.filter_map(|key| {
            let copies = self.copies.get(key)?;
            let (owner, winner) = winner(copies)?;
            let own = copies.get(file)?;
            (owner != file && !own.held && !winner.held).then(|| duplicate(&own.manifest, &winner.manifest))
        });
        lost.collect()
    }
}

/// The copy in force: of the first file in order of paths, files that show the object before those that hold it.
fn winner(copies: &BTreeMap<PathBuf, Copy>) -> Option<(&PathBuf, &Copy)> {
    copies
        .iter()
        .find(|(_, copy)| !copy.held)
        .or_else(|| copies.iter().next())
}

/// Nothing about the object differs, the place where it stands included.
fn same(a: &Manifest, b: &Manifest) -> bool {
    a.generation == b.generation && a.origin == b.origin && a.findings == b.findings
}

/// The finding that names both places of an object that stands in two.
pub(super) fn duplicate(lost: &Manifest, kept: &Manifest) -> Finding {
    let name = &lost.key.name;
    Finding {
        severity: Severity::Error,
        code: codes::DUPLICATE_OBJECT,
        object: ObjectRef {
            kind: lost.key.kind.as_str().to_owned(),
            namespace: name.namespace.to_string(),
            name: name.name.to_string(),
        },
        origin: lost.origin.clone(),
        path: String::new(),
        problem: format!(
            "is defined twice: {} is in force, {} is not read",
            kept.origin, lost.origin
        ),
        fix: "delete one of the two".to_owned(),
    }
}
