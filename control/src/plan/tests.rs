//! Which objects win, and what a proxy sees of them.

use serde_json::json;
use weft_policies::precedence::DestinationRules;

use super::inputs::{ListenerKind, RouteInputs, RouteTableInputs, VirtualHostInputs};
use super::{Plan, plan};
use crate::scope::Scope;
use crate::world;

const SIDECAR: &str = "sidecar~10.1.0.5~app-0.shop~shop.svc.cluster.local";
const GATEWAY: &str = "router~10.1.0.9~gw-0.edge~edge.svc.cluster.local";

/// Two Services on port 80, one in another namespace, and a gateway's two ports.
const BASE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: other}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: edge}
spec:
  selector: {app: gw}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*.test', '*']}]
";

fn planned(node: &str, objects: &str) -> Plan {
    let text = format!("{BASE}\n---\n{objects}");
    let (world, _) = world::load([("in.yaml", text.as_str())]);
    let metadata = json!({"LABELS": {"app": "gw", "tier": "front"}});
    let scope = Scope::from_parts(node, &metadata, &world).unwrap();
    plan(
        &world,
        &DestinationRules::new(&world.destination_rules, &world.mesh),
        &scope,
    )
}

fn virtual_service(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec: {rest}\n---\n"
    )
}

fn host<'t>(table: &'t RouteTableInputs, name: &str) -> &'t VirtualHostInputs {
    let found = table.virtual_hosts.iter().find(|host| host.name == name);
    found.unwrap_or_else(|| panic!("{name} is not among {:?}", names(table)))
}

fn names(table: &RouteTableInputs) -> Vec<&str> {
    table.virtual_hosts.iter().map(|host| host.name.as_str()).collect()
}

/// `NAME rule.match` of routes by VirtualServices, else the kind of route.
fn outline(host: &VirtualHostInputs) -> Vec<String> {
    let line = |route: &RouteInputs| match route {
        RouteInputs::Rule(rule) => {
            let matched = rule.matched.map(|index| format!(".{index}")).unwrap_or_default();
            format!("{} {}{matched}", rule.policy.meta.name, rule.rule)
        }
        RouteInputs::Host { target, .. } => target.cluster.clone(),
        RouteInputs::Passthrough { cluster } => format!("passed to {cluster}"),
        RouteInputs::Connect { cluster } => format!("CONNECT {}", cluster.as_deref().unwrap_or("refused")),
        RouteInputs::Blocked => "blocked".to_owned(),
    };
    host.routes.iter().map(line).collect()
}

#[test]
fn a_rule_that_takes_everything_ends_the_list() {
    let rules = "{hosts: [web], http: [
        {match: [{uri: {exact: /a}}, {uri: {prefix: /}}, {uri: {exact: /b}}], route: [{destination: {host: web}}]},
        {route: [{destination: {host: web}}]}]}";
    let plan = planned(SIDECAR, &virtual_service("web", rules));
    assert_eq!(
        outline(host(&plan.routes["80"], "web.shop.svc.cluster.local:80")),
        ["web 0.0", "web 0.1"]
    );
}

#[test]
fn gateways_of_a_match_replace_its_source_conditions() {
    let rules = "{hosts: [web], gateways: [mesh, edge/front], http: [
        {match: [{gateways: [mesh], sourceLabels: {tier: nobody}}], redirect: {uri: /a}},
        {match: [{gateways: [edge/front]}], redirect: {uri: /b}},
        {match: [{sourceLabels: {tier: nobody}}], redirect: {uri: /c}},
        {match: [{sourceLabels: {tier: front}, uri: {exact: /d}}], redirect: {uri: /d}}]}";
    let rules = rules.replace(
        "sourceLabels: {tier: nobody}}], redirect: {uri: /a}",
        "sourceLabels: {tier: nobody}, uri: {exact: /a}}], redirect: {uri: /a}",
    );
    let plan = planned(SIDECAR, &virtual_service("web", &rules));
    assert_eq!(
        outline(host(&plan.routes["80"], "web.shop.svc.cluster.local:80")),
        ["web 0.0", "web 3.0"]
    );
}

#[test]
fn the_first_of_two_virtual_services_owns_a_host_of_the_mesh() {
    let redirect = |to: &str| format!("{{hosts: [web], http: [{{redirect: {{uri: {to}}}}}]}}");
    let both = virtual_service("b", &redirect("/b")) + &virtual_service("a", &redirect("/a"));
    let plan = planned(SIDECAR, &both);
    assert_eq!(
        outline(host(&plan.routes["80"], "web.shop.svc.cluster.local:80")),
        ["a 0"]
    );
}

#[test]
fn the_most_specific_of_several_virtual_services_owns_a_host() {
    let of = |hosts: &str| format!("{{hosts: ['{hosts}'], http: [{{redirect: {{uri: /x}}}}]}}");
    let all = virtual_service("a", &of("*.svc.cluster.local"))
        + &virtual_service("b", &of("*.shop.svc.cluster.local"))
        + &virtual_service("c", &of("api.other.svc.cluster.local"));
    let plan = planned(SIDECAR, &all);
    assert_eq!(
        outline(host(&plan.routes["80"], "web.shop.svc.cluster.local:80")),
        ["b 0"]
    );
    assert_eq!(
        outline(host(&plan.routes["80"], "api.other.svc.cluster.local:80")),
        ["c 0"]
    );
}

#[test]
fn short_names_are_for_clients_of_the_namespace_and_real_names_win_over_them() {
    let entry = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: real, namespace: shop}
spec: {hosts: [web.shop], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, location: MESH_EXTERNAL}";
    let plan = planned(SIDECAR, entry);
    let table = &plan.routes["80"];
    let full = "web.shop.svc.cluster.local";
    let expected = [full, &format!("{full}."), "web.shop.svc", "web", "10.96.0.1"];
    assert_eq!(host(table, &format!("{full}:80")).domains, expected);
    assert_eq!(host(table, "web.shop:80").domains, ["web.shop"]);
    let other = &host(table, "api.other.svc.cluster.local:80").domains;
    assert!(
        !other.contains(&"api".to_owned()) && other.contains(&"api.other".to_owned()),
        "{other:?}"
    );
}

#[test]
fn unknown_hosts_are_passed_through_or_refused_as_the_mesh_says() {
    let mesh = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}";
    for (objects, name, expected) in [
        ("", "allow_any", "passed to PassthroughCluster"),
        (mesh, "block_all", "blocked"),
    ] {
        let plan = planned(SIDECAR, objects);
        assert_eq!(outline(host(&plan.routes["80"], name)), [expected]);
    }
}

#[test]
fn another_name_for_a_known_service_leads_to_its_clusters() {
    let alias = "apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}";
    let plan = planned(SIDECAR, alias);
    let web = host(&plan.routes["80"], "web.shop.svc.cluster.local:80");
    assert_eq!(outline(web), ["outbound|80||web.shop.svc.cluster.local"]);
    for name in ["alias.shop.svc.cluster.local", "alias.shop", "alias"] {
        assert!(web.domains.contains(&name.to_owned()), "{name}: {:?}", web.domains);
    }
    assert!(!plan.clusters.keys().any(|name| name.contains("alias")));
}

#[test]
fn aliases_of_aliases_lead_to_the_service_and_circles_to_nothing() {
    let to = |name: &str, target: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}
spec: {{type: ExternalName, externalName: {target}.shop.svc.cluster.local}}"
        )
    };
    let all = [("one", "two"), ("two", "web"), ("round", "about"), ("about", "round")].map(|(a, b)| to(a, b));
    let plan = planned(SIDECAR, &all.join("\n---\n"));
    let table = &plan.routes["80"];
    let web = host(table, "web.shop.svc.cluster.local:80");
    assert!(
        ["one", "two"]
            .iter()
            .all(|name| web.domains.contains(&(*name).to_owned()))
    );
    assert!(!names(table).iter().any(|name| name.contains("round")));
}

#[test]
fn a_gateway_port_that_nobody_binds_to_answers_with_nothing() {
    let plan = planned(GATEWAY, "");
    let table = &plan.routes["http.8080"];
    assert_eq!(
        (names(table), table.virtual_hosts[0].routes.len()),
        (vec!["blackhole:8080"], 0)
    );
    assert!(matches!(
        plan.listeners["0.0.0.0_8080"].kind,
        ListenerKind::Gateway { .. }
    ));
}

#[test]
fn catch_alls_of_a_gateway_host_go_last_and_stay_in_order() {
    let of = |rule: &str| format!("{{hosts: [a.test], gateways: [edge/front], http: [{rule}]}}");
    let all = virtual_service("a", &of("{redirect: {uri: /x}}"))
        + &virtual_service("b", &of("{match: [{uri: {exact: /b}}], redirect: {uri: /x}}"))
        + &virtual_service("c", &of("{match: [{uri: {regex: '.*'}}], redirect: {uri: /x}}"));
    let plan = planned(GATEWAY, &all);
    assert_eq!(
        outline(host(&plan.routes["http.8080"], "a.test:8080")),
        ["b 0.0", "a 0", "c 0.0"]
    );
}

#[test]
fn a_server_that_is_not_served_yet_is_named() {
    let gateway = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: opaque, namespace: edge}
spec:
  selector: {app: gw}
  servers:
  - {port: {number: 9000, name: tls, protocol: TLS}, hosts: ['*'], tls: {mode: PASSTHROUGH}}
  - {port: {number: 8080, name: contender, protocol: TCP}, hosts: ['*']}
  - {port: {number: 9001, name: first, protocol: TCP}, hosts: ['*']}
  - {port: {number: 9001, name: second, protocol: TCP}, hosts: ['*']}";
    let plan = planned(GATEWAY, gateway);
    let notes: Vec<_> = plan.notes.iter().map(|note| (note.code, note.path.as_str())).collect();
    assert_eq!(
        notes,
        [
            ("WFT0015", "spec.servers[0]"),
            ("WFT0201", "spec.servers[1]"),
            ("WFT0201", "spec.servers[3]")
        ]
    );
    assert!(!plan.listeners.contains_key("0.0.0.0_9000"));
}

#[test]
fn what_is_not_acted_upon_yet_is_named_and_never_opens_a_route() {
    let rules = "{hosts: [a.test], gateways: [edge/front], http: [
        {match: [{withoutHeaders: {'@request.auth.claims.group': {exact: x}}}], redirect: {uri: /x}}]}";
    let rule = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: a.test, targetPort: 1}}}";
    let plan = planned(GATEWAY, &(virtual_service("a", rules) + rule));
    assert_eq!(
        outline(host(&plan.routes["http.8080"], "a.test:8080")),
        Vec::<String>::new()
    );
    let notes: Vec<_> = plan
        .notes
        .iter()
        .map(|note| (note.object.kind.as_str(), note.path.as_str()))
        .collect();
    assert_eq!(
        notes,
        [
            ("VirtualService", "spec.http"),
            ("DestinationRule", "spec.trafficPolicy.tunnel")
        ]
    );
}
