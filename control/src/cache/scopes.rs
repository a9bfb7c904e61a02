//! One entry for each scope in use: the world it was generated from, and the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weft_xds::pb::core::Node;

use crate::generate::{Generator, Planned, ResourceSet};
use crate::plan::serves_other_ports;
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
        let old = std::mem::replace(&mut self.world, world.clone());
        if changes.is_empty() {
            return;
        }
        // A plan reads pods for service entries that select them and for the node itself.
        let plans_differ = !changes.is_endpoints_only()
            || !changes.endpoints.is_disjoint(&self.planned.plan.endpoint_listeners)
            || serves_other_ports(&old, world, scope, &changes.endpoints)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::generate::Work;
    use crate::world::{NamespacedName, load};

    const SIDECAR: &str = "sidecar~10.1.0.9~app-0.shop~shop.svc.cluster.local";

    fn mesh(pods: u8) -> World {
        let mut text = "apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5000}, {name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: db}, ports: [{name: tcp, port: 6000}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: other, namespace: other}
spec: {egress: [{hosts: ['./*']}]}
"
        .to_owned();
        for pod in 1..=pods {
            text += &format!(
                "---
apiVersion: v1
kind: Pod
metadata: {{name: db-{pod}, namespace: shop, labels: {{app: db}}}}
spec: {{containers: [{{name: app, image: example.test/app}}]}}
status: {{phase: Running, podIP: 10.1.0.{pod}}}
"
            );
        }
        Arc::unwrap_or_clone(load([("in.yaml", text.as_str())]).0)
    }

    /// The world with the endpoints of one service out of another.
    fn with_endpoints(world: &World, service: &NamespacedName, other: &World) -> World {
        let mut endpoints = BTreeMap::clone(&world.endpoints);
        endpoints.insert(service.clone(), other.endpoints[service].clone());
        World {
            endpoints: Arc::new(endpoints),
            ..world.clone()
        }
    }

    fn listeners(cache: &Cache) -> Vec<String> {
        let node = Node {
            id: SIDECAR.to_owned(),
            ..Node::default()
        };
        let (resources, _) = cache.resources(&node).expect("a node id");
        resources.listeners.keys().cloned().collect()
    }

    fn spent(before: Work, after: Work) -> (u64, u64, u64) {
        (
            after.listeners - before.listeners,
            after.routes - before.routes,
            after.clusters - before.clusters,
        )
    }

    #[test]
    fn an_endpoint_of_a_headless_service_is_a_listener_and_costs_that_one_alone() {
        let (one, two) = (mesh(1), mesh(2));
        let (sender, worlds) = watch::channel(Arc::new(one.clone()));
        let cache = Cache::new(worlds);
        let listener = |name: &str| listeners(&cache).contains(&name.to_owned());
        assert!(listener("10.1.0.1_5000") && !listener("10.1.0.2_5000"));

        let before = cache.work();
        let db = NamespacedName::new("shop", "db");
        sender.send_replace(Arc::new(with_endpoints(&one, &db, &two)));
        assert!(listener("10.1.0.1_5000") && listener("10.1.0.2_5000"));
        assert_eq!(spent(before, cache.work()), (1, 0, 0));

        // Others have no listeners by endpoint.
        let before = cache.work();
        let web = NamespacedName::new("shop", "web");
        let names = listeners(&cache);
        let world = Arc::unwrap_or_clone(sender.borrow().clone());
        sender.send_replace(Arc::new(with_endpoints(&world, &web, &two)));
        assert_eq!(listeners(&cache), names);
        assert_eq!(spent(before, cache.work()), (0, 0, 0));
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "the objects of one mesh, written out")]
    fn endpoints_that_number_the_ports_of_this_pod_are_followed_and_those_of_others_are_not() {
        let text = |rest: &str| {
            format!(
                "apiVersion: v1
kind: Service
metadata: {{name: manual, namespace: shop}}
spec: {{clusterIP: 10.96.0.1, ports: [{{name: http, port: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: named, namespace: shop}}
spec: {{clusterIP: 10.96.0.2, selector: {{app: app}}, ports: [{{name: tcp, port: 90, targetPort: five}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: app-0, namespace: shop, labels: {{app: app}}}}
spec: {{containers: [{{name: app, image: example.test/app}}]}}
status: {{phase: Running, podIP: 10.1.0.9}}
{rest}"
            )
        };
        let slice = |service: &str, address: &str, pod: &str, port: &str, number: u16| {
            format!(
                "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {pod}, namespace: shop}}}}]
ports: [{{name: {port}, port: {number}}}]
"
            )
        };
        let world = |rest: &str| load([("in.yaml", text(rest).as_str())]).0;
        let base = world("");
        let (sender, worlds) = watch::channel(base.clone());
        let cache = Cache::new(worlds);
        let ports = |cache: &Cache| {
            let node = Node {
                id: SIDECAR.to_owned(),
                ..Node::default()
            };
            let (resources, _) = cache.resources(&node).expect("a node id");
            let names = resources.clusters.keys().filter(|name| name.starts_with("inbound|"));
            names.cloned().collect::<Vec<_>>()
        };
        assert_eq!(ports(&cache), [""; 0]);
        for (service, rest, expected) in [
            (
                "manual",
                slice("manual", "10.1.0.9", "app-0", "http", 8080),
                "inbound|8080||",
            ),
            (
                "manual",
                slice("manual", "10.1.0.9", "app-0", "http", 8081),
                "inbound|8081||",
            ),
            (
                "named",
                slice("named", "10.1.0.9", "app-0", "tcp", 5555),
                "inbound|5555||",
            ),
        ] {
            let name = NamespacedName::new("shop", service);
            sender.send_replace(Arc::new(with_endpoints(&base, &name, &world(&rest))));
            assert_eq!(ports(&cache), [expected]);
        }
        let before = cache.work();
        let name = NamespacedName::new("shop", "manual");
        let others = world(&slice("manual", "10.1.0.8", "other", "http", 8080));
        let last = sender.borrow().clone();
        sender.send_replace(Arc::new(with_endpoints(&last, &name, &others)));
        assert_eq!(ports(&cache), ["inbound|5555||"]);
        assert_eq!(spent(before, cache.work()), (0, 0, 0));
    }

    #[test]
    fn a_sidecar_object_of_another_namespace_costs_nothing() {
        let world = mesh(1);
        let (sender, worlds) = watch::channel(Arc::new(world.clone()));
        let cache = Cache::new(worlds);
        let names = listeners(&cache);
        let before = cache.work();
        let sidecars = Arc::default();
        sender.send_replace(Arc::new(World { sidecars, ..world }));
        assert_eq!(listeners(&cache), names);
        assert_eq!(spent(before, cache.work()), (0, 0, 0));
    }
}
