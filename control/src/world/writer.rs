//! The single writer: events in, the next [`World`] out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_policies::kind::destination_rule::DestinationRule;
use weft_policies::kind::gateway::Gateway;
use weft_policies::kind::peer_authentication::PeerAuthentication;
use weft_policies::kind::service_entry::ServiceEntry;
use weft_policies::kind::sidecar::Sidecar;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::mesh::MeshConfig;
use weft_policies::{AnyObject, Finding, Origin};

use super::delegation::Delegation;
use super::reach::Reach;
use super::shelf::Shelf;
use super::{Kind, NamespacedName, ObjectKey, Policies, Secret, World, convert};
use crate::watch::{Body, Event, Manifest};

/// Applies events and keeps what later events are compared with.
#[derive(Debug, Default)]
pub struct Writer {
    world: World,
    known: BTreeMap<ObjectKey, Known>,
    reach: Reach,
    gateways: Shelf<Gateway>,
    virtual_services: Shelf<VirtualService>,
    /// VirtualServices as they were written; the world has them with their delegates in place.
    written: Policies<VirtualService>,
    delegation: Delegation,
    destination_rules: Shelf<DestinationRule>,
    service_entries: Shelf<ServiceEntry>,
    sidecars: Shelf<Sidecar>,
    peer_authentications: Shelf<PeerAuthentication>,
    /// Services whose endpoints have to be found again before the next world is complete.
    touched: BTreeSet<NamespacedName>,
    changed: bool,
}

/// What the writer remembers about an object.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The generation in force; `None` if none was ever accepted.
    accepted: Option<u64>,
}

/// What became of an object: for status and logs.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which object.
    pub key: ObjectKey,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an object.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was read.
    Read {
        /// Where it stands.
        origin: Origin,
        /// The generation that was read.
        generation: u64,
        /// The generation in force: the one read if it was accepted, else the last good one, if any.
        in_force: Option<u64>,
        /// All that there is to say about it.
        findings: Vec<Finding>,
    },
    /// It is gone.
    Deleted,
    /// What there is to say about a file (the key's name) as such.
    File(Vec<Finding>),
}

impl Writer {
    /// Takes a batch of events in and says what became of each object. [`Writer::publish`] makes them visible.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for event in events {
            match event {
                Event::Apply(manifest) => verdicts.push(self.put(&manifest)),
                Event::Delete(key) => verdicts.extend(self.delete(key)),
                Event::Reset(manifests) => self.reset(manifests, &mut verdicts),
                Event::File { file, findings } => {
                    let name = NamespacedName {
                        namespace: "".into(),
                        name: file,
                    };
                    verdicts.push(Verdict {
                        key: ObjectKey { kind: Kind::File, name },
                        outcome: Outcome::File(findings),
                    });
                }
            }
        }
        verdicts
    }

    /// The newest world, if it differs from the one handed out before.
    pub fn publish(&mut self) -> Option<Arc<World>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.gateways.arrange(&mut self.world.gateways);
        self.virtual_services.arrange(&mut self.written);
        self.delegation
            .arrange(&self.written, &self.world.mesh, &mut self.world.virtual_services);
        self.destination_rules.arrange(&mut self.world.destination_rules);
        self.service_entries.arrange(&mut self.world.service_entries);
        self.sidecars.arrange(&mut self.world.sidecars);
        self.peer_authentications.arrange(&mut self.world.peer_authentications);
        self.reach_again();
        self.world.generation += 1;
        Some(Arc::new(self.world.clone()))
    }

    fn reset(&mut self, manifests: Vec<Arc<Manifest>>, verdicts: &mut Vec<Verdict>) {
        // Even an empty cluster is a world: from now on "nothing" is an answer.
        self.changed = true;
        let present: BTreeSet<_> = manifests.iter().map(|manifest| manifest.key.clone()).collect();
        let gone: Vec<_> = self
            .known
            .keys()
            .filter(|key| !present.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            verdicts.extend(self.delete(key));
        }
        for manifest in manifests {
            verdicts.push(self.put(&manifest));
        }
    }

    fn put(&mut self, manifest: &Manifest) -> Verdict {
        let Manifest {
            key,
            origin,
            generation,
            body,
            findings,
        } = manifest;
        let known = self.known.entry(key.clone()).or_insert(Known { accepted: None });
        // The same content in another place changes nothing but where a finding points.
        let fresh = known.accepted != Some(*generation);
        if body.is_some() {
            known.accepted = Some(*generation);
        }
        let in_force = known.accepted;
        if let Some(body) = body.as_ref().filter(|_| fresh) {
            self.changed = true;
            self.put_body(&key.name, body, *generation, origin);
        }
        let outcome = Outcome::Read {
            origin: origin.clone(),
            generation: *generation,
            in_force,
            findings: findings.clone(),
        };
        Verdict {
            key: key.clone(),
            outcome,
        }
    }

    fn put_body(&mut self, name: &NamespacedName, body: &Body, generation: u64, origin: &Origin) {
        match body {
            Body::Policy(AnyObject::Gateway(object)) => self.gateways.put(name.clone(), object.clone()),
            Body::Policy(AnyObject::VirtualService(object)) => self.virtual_services.put(name.clone(), object.clone()),
            Body::Policy(AnyObject::DestinationRule(object)) => {
                self.destination_rules.put(name.clone(), object.clone())
            }
            Body::Policy(AnyObject::ServiceEntry(object)) => self.service_entries.put(name.clone(), object.clone()),
            Body::Policy(AnyObject::Sidecar(object)) => self.sidecars.put(name.clone(), object.clone()),
            Body::Policy(AnyObject::PeerAuthentication(object)) => {
                self.peer_authentications.put(name.clone(), object.clone())
            }
            Body::MeshConfig(mesh) => self.world.mesh = Arc::new((**mesh).clone()),
            Body::Service(object) => {
                let service = Arc::new(convert::service(object, generation, origin.clone()));
                Arc::make_mut(&mut self.world.services).insert(name.clone(), service);
                self.touched.insert(name.clone());
            }
            Body::Pod(object) => {
                self.remove_pod(name);
                if let Some(pod) = convert::pod(object, origin.clone()) {
                    self.reach.add_pod(name, &pod);
                    self.touched
                        .extend(self.reach.services_of(name, &pod, &self.world.services));
                    Arc::make_mut(&mut self.world.pods).insert(name.clone(), Arc::new(pod));
                }
            }
            Body::EndpointSlice(object) => {
                self.touched.extend(self.reach.put_slice(name, convert::slice(object)));
            }
            Body::Secret(object) => {
                let keys = object.data.iter().flat_map(BTreeMap::keys);
                let secret = Secret {
                    kind: object.type_.clone().unwrap_or_default(),
                    keys: keys
                        .chain(object.string_data.iter().flat_map(BTreeMap::keys))
                        .cloned()
                        .collect(),
                };
                Arc::make_mut(&mut self.world.secrets).insert(name.clone(), Arc::new(secret));
            }
            Body::Namespace(object) => {
                let labels = object.metadata.labels.clone().unwrap_or_default();
                Arc::make_mut(&mut self.world.namespaces).insert(name.name.to_string(), labels);
            }
        }
    }

    fn delete(&mut self, key: ObjectKey) -> Option<Verdict> {
        let known = self.known.remove(&key)?;
        self.changed |= known.accepted.is_some();
        let name = &key.name;
        match key.kind {
            Kind::Gateway => self.gateways.remove(name),
            Kind::VirtualService => self.virtual_services.remove(name),
            Kind::DestinationRule => self.destination_rules.remove(name),
            Kind::ServiceEntry => self.service_entries.remove(name),
            Kind::Sidecar => self.sidecars.remove(name),
            Kind::PeerAuthentication => self.peer_authentications.remove(name),
            Kind::MeshConfig => self.world.mesh = Arc::new(MeshConfig::default()),
            Kind::Service => {
                Arc::make_mut(&mut self.world.services).remove(name);
                self.touched.insert(name.clone());
            }
            Kind::Pod => self.remove_pod(name),
            Kind::EndpointSlice => self.touched.extend(self.reach.remove_slice(name)),
            Kind::Secret => {
                Arc::make_mut(&mut self.world.secrets).remove(name);
            }
            Kind::Namespace => {
                Arc::make_mut(&mut self.world.namespaces).remove(&*name.name);
            }
            Kind::File => {}
        }
        Some(Verdict {
            key,
            outcome: Outcome::Deleted,
        })
    }

    fn remove_pod(&mut self, name: &NamespacedName) {
        let Some(pod) = Arc::make_mut(&mut self.world.pods).remove(name) else {
            return;
        };
        self.touched
            .extend(self.reach.services_of(name, &pod, &self.world.services));
        self.reach.remove_pod(name, &pod);
    }

    /// Finds the endpoints of touched Services again. A result equal to the old one keeps its allocation, so
    /// that nobody downstream takes it for a change.
    fn reach_again(&mut self) {
        for name in std::mem::take(&mut self.touched) {
            let service = self.world.services.get(&name).map(Arc::as_ref);
            let found = self.reach.endpoints(&name, service, &self.world.pods);
            let known = self.world.endpoints.get(&name).map(|list| list.as_slice());
            if known == found.as_deref() {
                continue;
            }
            let endpoints = Arc::make_mut(&mut self.world.endpoints);
            match found {
                Some(found) => endpoints.insert(name, Arc::new(found)),
                None => endpoints.remove(&name),
            };
        }
    }
}
