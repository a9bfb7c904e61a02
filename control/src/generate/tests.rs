//! What a change costs: only what depends on it is generated again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use weft_policies::kind::virtual_service::HttpAction;
use weft_xds::Resource;

use super::{Generator, Planned, ResourceSet, Work};
use crate::scope::Scope;
use crate::world::{self, NamespacedName, World};

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  selector: {app: web}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.96.0.2
  selector: {app: cart}
  ports: [{name: http, port: 8081}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web, version: v1}}
spec: {serviceAccountName: web}
status: {phase: Running, podIP: 10.1.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-0, namespace: shop, labels: {app: cart}}
spec: {serviceAccountName: cart}
status: {phase: Running, podIP: 10.1.0.2}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: edge}
spec:
  selector: {app: gw}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 8090, name: other, protocol: HTTP}, hosts: [cart.test]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.test]
  gateways: [edge/front]
  http:
  - match: [{port: 8080}]
    route:
    - {destination: {host: web, subset: v1}, weight: 50}
    - {destination: {host: web, subset: v2}, weight: 50}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.test]
  gateways: [edge/front]
  http:
  - match: [{port: 8090}]
    route: [{destination: {host: cart}}]
";

fn shop() -> World {
    let (world, findings) = world::load([("shop.yaml", SHOP)]);
    assert!(findings.is_empty(), "{findings:?}");
    World::clone(&world)
}

fn gateway(world: &World) -> Scope {
    let metadata = json!({"NAMESPACE": "edge", "LABELS": {"app": "gw"}});
    Scope::from_parts("router~10.1.0.9~gw-0.edge~edge.svc.cluster.local", &metadata, world).unwrap()
}

fn work_of(generator: &mut Generator, act: impl FnOnce(&mut Generator)) -> Work {
    let before = generator.work();
    act(generator);
    let after = generator.work();
    Work {
        listeners: after.listeners - before.listeners,
        routes: after.routes - before.routes,
        clusters: after.clusters - before.clusters,
        endpoints: after.endpoints - before.endpoints,
    }
}

/// Names of the resources that are not the very same allocation.
fn renewed(old: &BTreeMap<String, Resource>, new: &BTreeMap<String, Resource>) -> Vec<String> {
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    let pairs = old.iter().zip(new.values());
    pairs
        .filter(|((_, old), new)| !Arc::ptr_eq(&old.body, &new.body))
        .map(|((name, _), _)| name.clone())
        .collect()
}

fn assert_same(old: &ResourceSet, new: &ResourceSet) {
    for (old, new) in [
        (&old.listeners, &new.listeners),
        (&old.routes, &new.routes),
        (&old.clusters, &new.clusters),
    ] {
        assert_eq!(renewed(old, new), Vec::<String>::new());
    }
}

/// The world after the endpoints of a Service have been replaced by none.
fn without_endpoints(world: &World, service: &NamespacedName) -> World {
    let mut endpoints = BTreeMap::clone(&world.endpoints);
    endpoints.insert(service.clone(), Arc::default());
    World {
        endpoints: Arc::new(endpoints),
        ..world.clone()
    }
}

#[test]
fn an_endpoint_change_generates_the_endpoints_of_that_service_and_nothing_else() {
    let world = shop();
    let mut generator = Generator::default();
    let mut planned = generator.generate(&world, &gateway(&world));
    let before = planned.resources.clone();
    let next = without_endpoints(&world, &NamespacedName::new("shop", "web"));

    let work = work_of(&mut generator, |generator| {
        generator.refresh_endpoints(&next, &mut planned)
    });
    assert_eq!(
        work,
        Work {
            endpoints: 3,
            ..Work::default()
        }
    );
    assert_same(&before, &planned.resources);
    let host = "web.shop.svc.cluster.local";
    let expected = [
        format!("outbound|8080|v1|{host}"),
        format!("outbound|8080|v2|{host}"),
        format!("outbound|8080||{host}"),
    ];
    assert_eq!(renewed(&before.endpoints, &planned.resources.endpoints), expected);

    let Planned { resources, .. } = generator.generate(&next, &gateway(&next));
    assert_same(&before, &resources);
    assert_eq!(
        renewed(&planned.resources.endpoints, &resources.endpoints),
        Vec::<String>::new()
    );
}

#[test]
fn a_rule_change_generates_the_route_tables_that_hold_it_and_nothing_else() {
    let world = shop();
    let mut generator = Generator::default();
    let before = generator.generate(&world, &gateway(&world)).resources;
    let mut policies = Vec::clone(&world.virtual_services);
    for policy in policies.iter_mut().filter(|policy| policy.meta.name == "web") {
        let mut changed = (**policy).clone();
        let HttpAction::Route(destinations) = &mut changed.spec.http[0].action else {
            panic!("a route")
        };
        destinations[0].weight = 90;
        *policy = Arc::new(changed);
    }
    let next = World {
        virtual_services: Arc::new(policies),
        ..world.clone()
    };

    let mut after = ResourceSet::default();
    let work = work_of(&mut generator, |generator| {
        after = generator.generate(&next, &gateway(&next)).resources
    });
    assert_eq!(
        work,
        Work {
            routes: 1,
            ..Work::default()
        }
    );
    assert_eq!(renewed(&before.routes, &after.routes), ["http.8080"]);
    assert_eq!(renewed(&before.clusters, &after.clusters), Vec::<String>::new());
    assert_eq!(renewed(&before.endpoints, &after.endpoints), Vec::<String>::new());
}

#[test]
fn a_policy_change_generates_the_clusters_of_its_host_and_nothing_else() {
    let world = shop();
    let mut generator = Generator::default();
    generator.generate(&world, &gateway(&world));
    let mut rules = Vec::clone(&world.destination_rules);
    let mut changed = (*rules[0]).clone();
    changed.spec.traffic_policy = Some(Default::default());
    changed.meta.generation += 1;
    rules[0] = Arc::new(changed);
    let next = World {
        destination_rules: Arc::new(rules),
        ..world.clone()
    };
    let work = work_of(&mut generator, |generator| {
        generator.generate(&next, &gateway(&next));
    });
    assert_eq!(
        work,
        Work {
            clusters: 3,
            ..Work::default()
        }
    );
}

#[test]
fn scopes_that_need_the_same_share_it() {
    let world = shop();
    let mut generator = Generator::default();
    let first = generator.generate(&world, &gateway(&world)).resources;
    let metadata = json!({"NAMESPACE": "edge", "LABELS": {"app": "gw"}});
    let other = Scope::from_parts("router~10.1.0.10~gw-1.edge~edge.svc.cluster.local", &metadata, &world).unwrap();
    let mut second = ResourceSet::default();
    let work = work_of(&mut generator, |generator| {
        second = generator.generate(&world, &other).resources
    });
    assert_eq!(work, Work::default());
    assert_same(&first, &second);
}

#[test]
fn equal_objects_have_equal_versions_whoever_generates_them() {
    let versions = |set: &ResourceSet| {
        let all = [&set.listeners, &set.routes, &set.clusters, &set.endpoints];
        let resources = all.into_iter().flat_map(|resources| resources.values());
        resources
            .map(|resource| (resource.name.clone(), resource.version.clone()))
            .collect::<Vec<_>>()
    };
    let (one, other) = (shop(), shop());
    let first = versions(&super::resources(&one, &gateway(&one)));
    assert!(!first.is_empty());
    assert_eq!(first, versions(&super::resources(&other, &gateway(&other))));
}

#[test]
fn what_nobody_holds_is_forgotten() {
    let world = shop();
    let mut generator = Generator::default();
    let planned = generator.generate(&world, &gateway(&world));
    generator.sweep();
    let kept = work_of(&mut generator, |generator| {
        generator.generate(&world, &gateway(&world));
    });
    assert_eq!(kept, Work::default());
    drop(planned);
    generator.sweep();
    let anew = work_of(&mut generator, |generator| {
        generator.generate(&world, &gateway(&world));
    });
    assert_eq!((anew.listeners, anew.routes), (2, 2));
}
