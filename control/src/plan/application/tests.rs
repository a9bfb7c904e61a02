//! What a sidecar serves for its application, and where it sends that.

use serde_json::json;
use weft_policies::precedence::DestinationRules;

use crate::plan::inputs::{ApplicationAddress, ClusterKind, ListenerKind, Peers};
use crate::plan::{Plan, plan};
use crate::scope::Scope;
use crate::world;

const NODE: &str = "sidecar~127.1.0.7~web-0.shop~shop.svc.cluster.local";

fn pod(annotations: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: shop, labels: {{app: web}}, annotations: {{{annotations}}}}}
status: {{podIP: 127.1.0.7}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  clusterIP: 10.96.0.1
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 9080}}, {{name: tcp, port: 6379}}]
"
    )
}

fn planned(mode: &str, objects: &str) -> Plan {
    let (world, findings) = world::load([("in.yaml", objects)]);
    assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
    let scope = Scope::from_parts(NODE, &json!({"INTERCEPTION_MODE": mode}), &world).unwrap();
    let rules = DestinationRules::new(&world.destination_rules, &world.mesh);
    plan(&world, &rules, &scope)
}

/// Listeners of the inbound side with their addresses.
fn listeners(plan: &Plan) -> Vec<String> {
    let inbound = plan.listeners.values().filter(|listener| {
        matches!(
            listener.kind,
            ListenerKind::Inbound { .. } | ListenerKind::VirtualInbound { .. }
        )
    });
    inbound
        .map(|listener| format!("{} {}:{}", listener.name, listener.address, listener.port))
        .collect()
}

/// Clusters of the application and where they lead.
fn applications(plan: &Plan) -> Vec<String> {
    let all = plan.clusters.values().filter_map(|cluster| match &cluster.kind {
        ClusterKind::Application(address) => Some((cluster, address)),
        _ => None,
    });
    let text = all.map(|(cluster, address)| {
        let to = match address {
            ApplicationAddress::AsDialled => "as dialled".to_owned(),
            ApplicationAddress::Tcp(address) => address.to_string(),
            ApplicationAddress::Socket(path) => path.clone(),
        };
        let from = cluster
            .source
            .map(|source| format!(" from {source}"))
            .unwrap_or_default();
        format!("{} → {to}{from}", cluster.name)
    });
    text.collect()
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn without_capture_each_target_port_is_bound_and_leads_to_the_address_that_the_pod_names() {
    for (annotations, expected) in [
        ("", "127.0.0.1"),
        ("weft.dev/application-address: 127.9.0.7", "127.9.0.7"),
        ("weft.dev/application-address: '::1'", "[::1]"),
    ] {
        let plan = planned("NONE", &pod(annotations));
        assert_eq!(
            listeners(&plan),
            ["127.1.0.7_6379 127.1.0.7:6379", "127.1.0.7_9080 127.1.0.7:9080"]
        );
        let clusters = [
            format!("inbound|6379|| → {expected}:6379"),
            format!("inbound|9080|| → {expected}:9080"),
        ];
        assert_eq!(applications(&plan), clusters, "{annotations}");
        assert_eq!(notes(&plan), [""; 0], "{annotations}");
    }
}

#[test]
fn an_application_address_that_is_none_or_the_sidecars_own_is_said_and_not_used() {
    for (address, said) in [
        ("127.1.0.7", "where the sidecar itself listens"),
        ("web.local", "no IP address"),
    ] {
        let plan = planned("NONE", &pod(&format!("weft.dev/application-address: {address}")));
        assert_eq!(
            applications(&plan),
            ["inbound|6379|| → 127.0.0.1:6379", "inbound|9080|| → 127.0.0.1:9080"]
        );
        let notes = notes(&plan);
        assert!(
            notes.len() == 1 && notes[0].contains(said) && notes[0].contains("Pod shop/web-0 (in.yaml:"),
            "{notes:?}"
        );
    }
}

#[test]
fn a_sidecar_that_cannot_tell_the_application_from_itself_serves_nothing_for_it() {
    let objects = pod("").replace("127.1.0.7", "127.0.0.1");
    let (world, _) = world::load([("in.yaml", objects.as_str())]);
    let node = NODE.replace("127.1.0.7", "127.0.0.1");
    let scope = Scope::from_parts(&node, &json!({"INTERCEPTION_MODE": "NONE"}), &world).unwrap();
    let plan = plan(
        &world,
        &DestinationRules::new(&world.destination_rules, &world.mesh),
        &scope,
    );
    assert_eq!(listeners(&plan), [""; 0]);
    assert!(notes(&plan)[0].contains("nothing is served"), "{:?}", notes(&plan));
}

#[test]
fn captured_connections_go_to_the_pod_from_an_address_of_their_own_or_to_localhost_if_the_mesh_says_so() {
    let plan = planned("REDIRECT", &pod("weft.dev/application-address: 127.9.0.7"));
    assert_eq!(listeners(&plan), ["virtualInbound 0.0.0.0:15006"]);
    let dialled = [
        "InboundPassthroughCluster → as dialled from 127.0.0.6",
        "inbound|6379|| → as dialled from 127.0.0.6",
        "inbound|9080|| → as dialled from 127.0.0.6",
    ];
    assert_eq!(applications(&plan), dialled);
    let mesh = "
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'inboundTrafficPolicy: {mode: LOCALHOST}'}
";
    let plan = planned("REDIRECT", &(pod("") + mesh));
    let local = [
        "InboundPassthroughCluster → as dialled from 127.0.0.6",
        "inbound|6379|| → 127.0.0.1:6379",
        "inbound|9080|| → 127.0.0.1:9080",
    ];
    assert_eq!(applications(&plan), local);
}

#[test]
fn ports_under_strict_are_for_the_mesh_and_objects_that_say_nothing_are_told_so() {
    let policy = |name: &str, namespace: &str, spec: &str| {
        format!(
            "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
        )
    };
    let objects = [
        pod(""),
        policy("all", "shop", "{mtls: {mode: STRICT}}"),
        policy("later", "shop", "{mtls: {mode: DISABLE}}"),
        policy(
            "web",
            "shop",
            "{selector: {matchLabels: {app: web}}, portLevelMtls: {'9080': {mode: PERMISSIVE}, '4444': {mode: DISABLE}}}",
        ),
        policy(
            "rooted",
            "istio-system",
            "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}",
        ),
    ];
    let objects = objects.concat();
    let closed = |mode: &str| {
        let plan = planned(mode, &objects);
        let mut peers = Vec::new();
        for listener in plan.listeners.values() {
            match &listener.kind {
                ListenerKind::Inbound { port } => peers.push((port.port, port.peers)),
                ListenerKind::VirtualInbound { ports, others } => {
                    peers.extend(ports.iter().map(|port| (port.port, port.peers)));
                    peers.push((0, *others));
                }
                _ => {}
            }
        }
        peers.sort_by_key(|(port, _)| *port);
        (peers, notes(&plan))
    };
    let (captured, notes) = closed("REDIRECT");
    let expected = [
        (0, Peers::Mesh),
        (4444, Peers::Anybody),
        (6379, Peers::Mesh),
        (9080, Peers::Anybody),
    ];
    assert_eq!(captured, expected);
    let [older, rooted] = &notes[..] else {
        panic!("{notes:?}");
    };
    assert!(
        older.contains("shop/later") && older.contains("shop/all is older"),
        "{older}"
    );
    assert!(
        rooted.contains("istio-system/rooted") && rooted.contains("nothing can be selected"),
        "{rooted}"
    );
    // Without capture nobody comes to a port that nothing declares.
    assert_eq!(closed("NONE").0, [(6379, Peers::Mesh), (9080, Peers::Anybody)]);
}

#[test]
fn an_ingress_port_that_cannot_be_served_is_said_to_the_author_of_the_sidecar() {
    for (mode, port, said) in [
        ("NONE", 15000, "belongs to the proxy"),
        ("NONE", 80, "may not bind port 80"),
        ("REDIRECT", 15006, "belongs to the proxy"),
    ] {
        let objects = format!(
            "{}---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: shop}}
spec:
  ingress:
    - {{port: {{number: {port}, name: http, protocol: HTTP}}, defaultEndpoint: '127.0.0.1:8080'}}
    - {{port: {{number: 9000, name: http, protocol: HTTP}}, defaultEndpoint: '127.0.0.1:9001'}}
",
            pod("")
        );
        let (world, findings) = world::load([("in.yaml", objects.as_str())]);
        assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
        let metadata = json!({"INTERCEPTION_MODE": mode, "UNPRIVILEGED_POD": "true"});
        let scope = Scope::from_parts(NODE, &metadata, &world).unwrap();
        let rules = DestinationRules::new(&world.destination_rules, &world.mesh);
        let plan = plan(&world, &rules, &scope);
        let served = applications(&plan);
        assert!(
            served.contains(&"inbound|9000|| → 127.0.0.1:9001".to_owned()),
            "{served:?}"
        );
        assert!(
            !served.iter().any(|one| one.contains(&format!("|{port}|"))),
            "{served:?}"
        );
        let notes = notes(&plan);
        assert!(
            notes.len() == 1
                && notes[0].contains(said)
                && notes[0].contains("Sidecar shop/web (in.yaml:")
                && notes[0].contains("spec.ingress[0].port.number"),
            "{notes:?}"
        );
    }
}
