//! What differs between two worlds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Kind, Map, NamespacedName, ObjectKey, Policies, World};

/// The objects that differ between two worlds, found by comparing shared pointers: indexes that neither
/// side rebuilt cost nothing, however many worlds lie between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services whose endpoints differ, by the name of the Service.
    pub endpoints: BTreeSet<NamespacedName>,
    /// Everything else that differs.
    pub objects: BTreeSet<ObjectKey>,
}

impl Changes {
    /// What an observer that knows `old` has to learn to know `new`.
    pub fn between(old: &World, new: &World) -> Self {
        let mut changes = Self::default();
        differing(&old.endpoints, &new.endpoints, |name| {
            changes.endpoints.insert(name.clone());
        });
        let objects = &mut changes.objects;
        let mut note = |kind, name: &NamespacedName| {
            objects.insert(ObjectKey {
                kind,
                name: name.clone(),
            });
        };
        differing(&old.services, &new.services, |name| note(Kind::Service, name));
        differing(&old.pods, &new.pods, |name| note(Kind::Pod, name));
        differing(&old.secrets, &new.secrets, |name| note(Kind::Secret, name));
        policies(&old.gateways, &new.gateways, |name| note(Kind::Gateway, name));
        policies(&old.virtual_services, &new.virtual_services, |name| {
            note(Kind::VirtualService, name)
        });
        policies(&old.destination_rules, &new.destination_rules, |name| {
            note(Kind::DestinationRule, name)
        });
        policies(&old.service_entries, &new.service_entries, |name| {
            note(Kind::ServiceEntry, name)
        });
        policies(&old.sidecars, &new.sidecars, |name| note(Kind::Sidecar, name));
        policies(&old.peer_authentications, &new.peer_authentications, |name| {
            note(Kind::PeerAuthentication, name)
        });
        if !Arc::ptr_eq(&old.mesh, &new.mesh) {
            note(Kind::MeshConfig, &NamespacedName::new("istio-system", "istio"));
        }
        if !Arc::ptr_eq(&old.namespaces, &new.namespaces) {
            for (name, labels) in new.namespaces.iter() {
                if old.namespaces.get(name) != Some(labels) {
                    note(Kind::Namespace, &NamespacedName::new("", name));
                }
            }
            for name in old.namespaces.keys().filter(|name| !new.namespaces.contains_key(*name)) {
                note(Kind::Namespace, &NamespacedName::new("", name));
            }
        }
        changes
    }

    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.objects.is_empty()
    }

    /// Only endpoints (and the pods behind them) differ: no listener, route table or cluster can have changed,
    /// unless a changed pod is the receiver itself.
    pub fn is_endpoints_only(&self) -> bool {
        self.objects.iter().all(|object| object.kind == Kind::Pod)
    }
}

/// Calls `note` with each key whose value is another allocation.
fn differing<V>(old: &Map<Arc<V>>, new: &Map<Arc<V>>, mut note: impl FnMut(&NamespacedName)) {
    if Arc::ptr_eq(old, new) {
        return;
    }
    for (name, value) in new.iter() {
        if !old.get(name).is_some_and(|known| Arc::ptr_eq(known, value)) {
            note(name);
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        note(name);
    }
}

/// Calls `note` with the name of each policy that is in one list only.
fn policies<S>(old: &Policies<S>, new: &Policies<S>, mut note: impl FnMut(&NamespacedName)) {
    if Arc::ptr_eq(old, new) {
        return;
    }
    let pointers = |list: &Policies<S>| list.iter().map(Arc::as_ptr).collect::<BTreeSet<_>>();
    let (before, after) = (pointers(old), pointers(new));
    let gone = old.iter().filter(|policy| !after.contains(&Arc::as_ptr(policy)));
    let come = new.iter().filter(|policy| !before.contains(&Arc::as_ptr(policy)));
    for policy in gone.chain(come) {
        note(&NamespacedName::new(&policy.meta.namespace, &policy.meta.name));
    }
}
