//! One entry for each scope in use: the world it was generated from, and the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weft_xds::pb::core::Node;

use crate::generate::{Generator, Planned, ResourceSet};
use crate::scope::{Scope, ScopeError};
use crate::world::{Changes, Kind, World};

/// Resources by scope. Asking twice for the same scope and world costs a look-up; a change of endpoints alone
/// costs the endpoints alone.
#[derive(Debug)]
pub struct Cache {
    worlds: watch::Receiver<Arc<World>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    generator: Generator,
    scopes: HashMap<Scope, Entry>,
}

#[derive(Debug)]
struct Entry {
    world: Arc<World>,
    planned: Planned,
    /// What streams hold. Nobody else does when the scope is out of use.
    shared: Arc<ResourceSet>,
}

impl Cache {
    /// A cache over the newest world.
    pub fn new(worlds: watch::Receiver<Arc<World>>) -> Self {
        Self {
            worlds,
            inner: Mutex::default(),
        }
    }

    /// What the node gets in the newest world, and the number of that world.
    ///
    /// # Errors
    /// If the node's id says nothing.
    pub fn resources(&self, node: &Node) -> Result<(Arc<ResourceSet>, u64), ScopeError> {
        let world = self.worlds.borrow().clone();
        let scope = Scope::from_node(node, &world)?;
        let mut inner = self.lock();
        let Inner { generator, scopes } = &mut *inner;
        if let Some(entry) = scopes.get_mut(&scope) {
            entry.refresh(generator, &world, &scope);
        } else {
            let planned = generator.generate(&world, &scope);
            let shared = Arc::new(planned.resources.clone());
            scopes.insert(
                scope.clone(),
                Entry {
                    world: world.clone(),
                    planned,
                    shared,
                },
            );
        }
        let shared = scopes.get(&scope).map(|entry| entry.shared.clone()).unwrap_or_default();
        inner.sweep(&world);
        Ok((shared, world.generation))
    }

    /// How many resources have been generated, as opposed to remembered.
    pub fn work(&self) -> crate::generate::Work {
        self.lock().generator.work()
    }

    /// A panic while the lock was held leaves entries that are whole, if old: they are generated again.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn refresh(&mut self, generator: &mut Generator, world: &Arc<World>, scope: &Scope) {
        if Arc::ptr_eq(&self.world, world) {
            return;
        }
        let changes = Changes::between(&self.world, world);
        self.world = world.clone();
        if changes.is_empty() {
            return;
        }
        // A plan reads pods for service entries that select them and for the node itself.
        let plans_differ = !changes.is_endpoints_only()
            || !changes.endpoints.is_disjoint(&self.planned.plan.endpoint_listeners)
            || (changes.objects.iter().any(|object| object.kind == Kind::Pod)
                && (!world.service_entries.is_empty() || scope.pod(world).is_some()));
        if plans_differ {
            self.planned = generator.generate(world, scope);
        } else {
            generator.refresh_endpoints(world, &mut self.planned);
        }
        self.shared = Arc::new(self.planned.resources.clone());
    }
}

impl Inner {
    /// Once every scope in use has seen the newest world, forgets the others and what they alone needed.
    fn sweep(&mut self, world: &Arc<World>) {
        let is_current = |entry: &Entry| Arc::ptr_eq(&entry.world, world);
        let in_use = |entry: &Entry| Arc::strong_count(&entry.shared) > 1;
        let all_current = self.scopes.values().all(|entry| is_current(entry) || !in_use(entry));
        if all_current && self.scopes.values().any(|entry| !is_current(entry)) {
            self.scopes.retain(|_, entry| is_current(entry));
        }
        if all_current {
            self.generator.sweep();
        }
    }
}
