//! What a world is, by the text that it was read from.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Changes, Kind, NamespacedName, Outcome, World, Writer, load};
use crate::watch::{Event, events_of};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.0.0.7
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: metrics, port: 9090}
  - {name: dns, port: 53, protocol: UDP}
";

fn pod(name: &str, ip: &str, rest: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web, version: {name}}}}}
spec: {{serviceAccountName: web-account, containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}
status: {{podIP: {ip}{rest}}}
"
    )
}

fn slice(name: &str, endpoints: &str, ports: &str) -> String {
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: {endpoints}
ports: {ports}
"
    )
}

fn world(documents: &[&str]) -> Arc<World> {
    let (world, findings) = load([("objects.yaml", documents.join("---").as_str())]);
    assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
    world
}

fn name(text: &str) -> NamespacedName {
    let (namespace, name) = text.split_once('/').unwrap();
    NamespacedName::new(namespace, name)
}

/// `address:port of http/version, readiness` of each endpoint of `shop/web`.
fn endpoints(world: &World) -> Vec<String> {
    let list = world
        .endpoints
        .get(&name("shop/web"))
        .map(|list| list.as_slice())
        .unwrap_or_default();
    let line = |endpoint: &super::Endpoint| {
        let version = endpoint.labels.get("version").map(String::as_str).unwrap_or_default();
        let port = endpoint.ports.get("http").copied().unwrap_or_default();
        format!("{}:{port} {version} {:?}", endpoint.address, endpoint.readiness)
    };
    list.iter().map(line).collect()
}

#[test]
fn a_service_without_slices_reaches_the_pods_it_selects() {
    let pending = pod("v4", "10.1.0.4", ", phase: Pending");
    let unready = pod("v3", "10.1.0.3", ", conditions: [{type: Ready, status: 'False'}]");
    let finished = pod("v5", "10.1.0.5", ", phase: Succeeded");
    let (first, second) = (pod("v1", "10.1.0.1", ""), pod("v2", "10.1.0.2", ", phase: Running"));
    let other = pod("v6", "10.1.0.6", "").replace("app: web", "app: other");
    let elsewhere = pod("v7", "10.1.0.7", "").replace("namespace: shop", "namespace: else");
    let unscheduled = pod("v8", "''", "");
    let world = world(&[
        SERVICE,
        &first,
        &second,
        &unready,
        &pending,
        &finished,
        &other,
        &elsewhere,
        &unscheduled,
    ]);
    let expected = [
        "10.1.0.1:8080 v1 Ready",
        "10.1.0.2:8080 v2 Ready",
        "10.1.0.3:8080 v3 NotReady",
        "10.1.0.4:8080 v4 NotReady",
    ];
    assert_eq!(endpoints(&world), expected);
    let endpoint = &world.endpoints[&name("shop/web")][0];
    assert_eq!(
        endpoint.ports.get("metrics"),
        Some(&9090),
        "a port without a target leads to its own number"
    );
    assert!(!endpoint.ports.contains_key("dns"), "UDP is not carried");
    assert_eq!(
        (endpoint.service_account.as_str(), endpoint.workload.as_str()),
        ("web-account", "v1")
    );
}

#[test]
fn slices_come_before_the_selector_and_their_conditions_count() {
    let listed = slice(
        "one",
        "[{addresses: [10.1.0.1], targetRef: {kind: Pod, name: v1}}, {addresses: [10.1.0.2], conditions: {ready: false}},
          {addresses: [10.1.0.3], conditions: {ready: true, serving: true, terminating: true}}]",
        "[{name: http, port: 7000}, {name: dns, port: 53, protocol: UDP}]",
    );
    let second = slice(
        "two",
        "[{addresses: [10.1.0.4, 10.1.0.1]}]",
        "[{name: http, port: 7001}]",
    );
    let world = world(&[
        SERVICE,
        &listed,
        &second,
        &pod("v1", "10.1.0.1", ""),
        &pod("v2", "10.1.0.2", ""),
        &pod("v9", "10.1.0.9", ""),
    ]);
    let expected = [
        "10.1.0.1:7000 v1 Ready",
        "10.1.0.1:7001 v1 Ready",
        "10.1.0.2:7000 v2 NotReady",
        "10.1.0.3:7000  Terminating",
        "10.1.0.4:7001  Ready",
    ];
    assert_eq!(endpoints(&world), expected);
}

#[test]
fn pods_that_share_an_address_are_told_apart_by_their_ports() {
    let first = pod("v1", "127.0.0.1", "");
    let second = pod("v2", "127.0.0.1", "").replace("containerPort: 8080", "containerPort: 8081");
    let one = slice("one", "[{addresses: [127.0.0.1]}]", "[{name: http, port: 8080}]");
    let two = slice("two", "[{addresses: [127.0.0.1]}]", "[{name: http, port: 8081}]");
    let expected = ["127.0.0.1:8080 v1 Ready", "127.0.0.1:8081 v2 Ready"];
    assert_eq!(endpoints(&world(&[SERVICE, &first, &second, &one, &two])), expected);
    assert_eq!(endpoints(&world(&[SERVICE, &first, &second])), expected);
}

#[test]
fn services_keep_what_the_mesh_asks_about() {
    let world = world(&[
        SERVICE,
        "
apiVersion: v1
kind: Service
metadata: {name: headless, annotations: {networking.istio.io/exportTo: '., shop'}}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: grpc-api, port: 50051}]}
",
        "
apiVersion: v1
kind: Service
metadata: {name: alias, labels: {networking.istio.io/exportTo: '~'}, creationTimestamp: '2024-01-01T00:00:00Z'}
spec: {type: ExternalName, externalName: Web.Example.COM., ports: [{port: 443, appProtocol: https}]}
",
        "
apiVersion: v1
kind: Service
metadata: {name: dual}
spec: {clusterIP: 10.0.0.9, clusterIPs: [10.0.0.9, 'fd00::9'], ports: [{port: 80, targetPort: '8080'}]}
",
    ]);
    let web = &world.services[&name("shop/web")];
    assert_eq!(
        (web.hostname.as_str(), web.ports.len()),
        ("web.shop.svc.cluster.local", 2)
    );
    let headless = &world.services[&name("default/headless")];
    assert!(headless.headless && headless.cluster_ips.is_empty());
    assert_eq!(headless.export_to, [".", "shop"]);
    let alias = &world.services[&name("default/alias")];
    assert_eq!(
        (alias.external_name.as_deref(), alias.created),
        (Some("web.example.com"), Some(1_704_067_200_000))
    );
    assert!(!world.endpoints.contains_key(&name("default/alias")));
    let dual = &world.services[&name("default/dual")];
    assert_eq!(dual.cluster_ips.len(), 2);
    assert_eq!(dual.ports[0].target, super::TargetPort::Number(8080));
}

#[test]
fn the_workload_of_a_pod_is_its_controller() {
    let owned = |kind: &str, owner: &str| {
        let owners = format!(
            "labels: {{pod-template-hash: abc12, app: web, version: v1}}, ownerReferences: [{{apiVersion: apps/v1, kind: {kind}, name: {owner}, uid: u, controller: true}}]"
        );
        pod("v1", "10.1.0.1", "").replace("labels: {app: web, version: v1}", &owners)
    };
    for (kind, owner, expected) in [
        ("ReplicaSet", "web-abc12", "web"),
        ("StatefulSet", "db", "db"),
        ("ReplicaSet", "bare", "bare"),
    ] {
        assert_eq!(
            world(&[&owned(kind, owner)]).pods[&name("shop/v1")].workload,
            expected,
            "{kind} {owner}"
        );
    }
}

fn apply(writer: &mut Writer, before: &World, text: &str) -> (Arc<World>, Changes) {
    // What a source tells after its first read: the objects one by one.
    let events = events_of([("objects.yaml", text)])
        .into_iter()
        .flat_map(|event| match event {
            Event::Reset(all) => all.into_iter().map(Event::Apply).collect(),
            other => vec![other],
        });
    writer.apply(events);
    let world = writer.publish().expect("a change");
    let changes = Changes::between(before, &world);
    (world, changes)
}

#[test]
fn a_change_of_endpoints_touches_nothing_else() {
    let mut writer = Writer::default();
    let base = [
        SERVICE,
        &slice("one", "[{addresses: [10.1.0.1]}]", "[{name: http, port: 7000}]"),
    ]
    .join("---");
    let (first, changes) = apply(&mut writer, &World::default(), &base);
    assert!(!changes.is_endpoints_only());
    let more = slice(
        "one",
        "[{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}]",
        "[{name: http, port: 7000}]",
    );
    let (second, changes) = apply(&mut writer, &first, &more);
    assert!(changes.is_endpoints_only());
    assert_eq!(changes.endpoints, BTreeSet::from([name("shop/web")]));
    assert!(changes.objects.is_empty());
    assert!(
        Arc::ptr_eq(&first.services, &second.services),
        "what has not changed is the same allocation"
    );
    let renamed = SERVICE.replace("app: web", "app: other");
    let (third, changes) = apply(&mut writer, &second, &renamed);
    assert_eq!(
        changes.objects.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["Service/shop/web"]
    );
    assert!(changes.endpoints.is_empty(), "slices decide, whatever the selector");
    let between = Changes::between(&first, &third);
    assert_eq!(
        (between.endpoints.len(), between.objects.len()),
        (1, 1),
        "an observer may skip worlds"
    );
}

#[test]
fn a_pod_that_comes_changes_or_goes_moves_its_services() {
    let mut writer = Writer::default();
    let (world, _) = apply(
        &mut writer,
        &World::default(),
        &[SERVICE, &pod("v1", "10.1.0.1", "")].join("---"),
    );
    assert_eq!(endpoints(&world), ["10.1.0.1:8080 v1 Ready"]);
    let (world, changes) = apply(&mut writer, &world, &pod("v2", "10.1.0.2", ""));
    assert!(changes.is_endpoints_only());
    assert_eq!(endpoints(&world), ["10.1.0.1:8080 v1 Ready", "10.1.0.2:8080 v2 Ready"]);
    let (world, _) = apply(
        &mut writer,
        &world,
        &pod("v1", "10.1.0.1", "").replace("app: web", "app: away"),
    );
    assert_eq!(endpoints(&world), ["10.1.0.2:8080 v2 Ready"]);
    let (world, _) = apply(
        &mut writer,
        &world,
        &pod("v2", "10.1.0.2", ", conditions: [{type: Ready, status: 'False'}]"),
    );
    assert_eq!(endpoints(&world), ["10.1.0.2:8080 v2 NotReady"]);
    writer.apply([Event::Delete(super::ObjectKey {
        kind: Kind::Pod,
        name: name("shop/v2"),
    })]);
    let world = writer.publish().unwrap();
    assert_eq!(endpoints(&world), [""; 0]);
    assert_eq!(
        world.endpoints[&name("shop/web")].len(),
        0,
        "a Service without endpoints is known to have none"
    );
}

#[test]
fn a_refused_object_keeps_its_last_good_value_and_the_same_content_is_no_change() {
    let mut writer = Writer::default();
    let (world, _) = apply(&mut writer, &World::default(), SERVICE);
    let broken = SERVICE.replace("port: 80,", "port: eighty,");
    let verdicts = writer.apply(events_of([("objects.yaml", broken.as_str())]));
    let Outcome::Read {
        generation,
        in_force,
        findings,
        ..
    } = &verdicts[0].outcome
    else {
        panic!("{verdicts:?}")
    };
    assert_eq!(findings.len(), 1);
    assert_eq!(*in_force, Some(world.services[&name("shop/web")].generation));
    assert_ne!(*in_force, Some(*generation));
    let kept = writer.publish().expect("a reset always answers");
    assert!(Changes::between(&world, &kept).is_empty());
    let moved = format!("# a remark\n{SERVICE}");
    let verdicts = writer.apply(events_of([("objects.yaml", moved.as_str())]));
    let Outcome::Read {
        generation, in_force, ..
    } = &verdicts[0].outcome
    else {
        panic!("{verdicts:?}")
    };
    assert_eq!(*in_force, Some(*generation));
    assert!(Changes::between(&world, &writer.publish().unwrap()).is_empty());
}

#[test]
fn a_reset_removes_what_it_does_not_name() {
    let mut writer = Writer::default();
    writer.apply(events_of([
        ("a.yaml", SERVICE),
        ("b.yaml", pod("v1", "10.1.0.1", "").as_str()),
    ]));
    let full = writer.publish().unwrap();
    let verdicts = writer.apply(events_of([("a.yaml", SERVICE)]));
    assert!(
        verdicts
            .iter()
            .any(|verdict| matches!(verdict.outcome, Outcome::Deleted)),
        "{verdicts:?}"
    );
    let less = writer.publish().unwrap();
    assert_eq!((full.pods.len(), less.pods.len()), (1, 0));
    assert_eq!(endpoints(&less), [""; 0]);
    assert!(less.generation > full.generation);
}

#[test]
fn policies_stand_in_order_of_age_and_the_mesh_is_read() {
    let rule = |name: &str, namespace: &str, created: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}{created}}}
spec: {{host: web.shop.svc.cluster.local}}
"
        )
    };
    let mesh = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
";
    let young = rule("a", "shop", ", creationTimestamp: '2024-02-01T00:00:00Z'");
    let old = rule("z", "shop", ", creationTimestamp: '2024-01-01T00:00:00Z'");
    let world = world(&[&young, &old, &rule("m", "b", ""), &rule("m", "a", ""), mesh]);
    let names: Vec<_> = world
        .destination_rules
        .iter()
        .map(|rule| format!("{}/{}", rule.meta.namespace, rule.meta.name))
        .collect();
    assert_eq!(names, ["a/m", "b/m", "shop/z", "shop/a"]);
    assert_ne!(*world.mesh, weft_policies::mesh::MeshConfig::default());
}
