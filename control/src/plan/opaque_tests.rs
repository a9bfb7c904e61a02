//! Which opaque connections go where.

use serde_json::json;
use weft_policies::precedence::DestinationRules;

use super::inputs::{ListenerKind, OpaqueInputs};
use super::{Plan, plan};
use crate::scope::Scope;
use crate::world;

const SIDECAR: &str = "sidecar~10.1.0.5~app-0.shop~shop.svc.cluster.local";
const GATEWAY: &str = "router~10.1.0.9~gw-0.edge~edge.svc.cluster.local";

const BASE: &str = "
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: tcp, port: 5432}, {name: tls, port: 5433}, {name: what, port: 5434}]}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: shop}
spec: {clusterIP: 10.96.0.2, ports: [{name: tcp, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: old, namespace: shop}
spec: {host: old, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 30s, maxConnectionDuration: 1h}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: edge}
spec:
  selector: {app: gw}
  servers: [{port: {number: 9000, name: tcp, protocol: TCP}, hosts: [db.test]}]
---
";

/// `CLUSTER:WEIGHT[@NETWORK]` of each chain, in order.
fn outline(plan: &Plan, listener: &str) -> Vec<String> {
    let line = |chain: &OpaqueInputs| {
        let targets: Vec<String> = chain
            .targets
            .iter()
            .map(|(cluster, weight)| {
                let host = cluster.rsplit('|').next().unwrap_or_default();
                format!("{}:{weight}", host.split('.').next().unwrap_or_default())
            })
            .collect();
        let networks: Vec<String> = chain
            .networks
            .iter()
            .map(|network| format!("@{}/{}", network.address, network.length))
            .collect();
        targets.join("+") + &networks.concat()
    };
    chains(plan, listener).iter().map(line).collect()
}

fn chains<'p>(plan: &'p Plan, listener: &str) -> &'p [OpaqueInputs] {
    match &plan.listeners[listener].kind {
        ListenerKind::Tcp { chains, .. } | ListenerKind::GatewayTcp { chains } => chains,
        ListenerKind::Detect { opaque, .. } => opaque,
        other => panic!("{listener} is {other:?}"),
    }
}

fn planned(node: &str, rules: &str) -> Plan {
    let text = format!(
        "{BASE}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: db, namespace: shop}}\nspec: {rules}"
    );
    let (world, findings) = world::load([("in.yaml", text.as_str())]);
    assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
    let scope = Scope::from_parts(node, &json!({"LABELS": {"app": "gw", "tier": "front"}}), &world).unwrap();
    plan(
        &world,
        &DestinationRules::new(&world.destination_rules, &world.mesh),
        &scope,
    )
}

const TO_OLD: &str = "route: [{destination: {host: old, port: {number: 5432}}}]";

#[test]
fn the_first_rule_that_applies_takes_the_connections_of_its_port() {
    for (rules, expected) in [
        (format!("{{{TO_OLD}}}"), vec!["old:1"]),
        (format!("{{match: [{{port: 1}}], {TO_OLD}}}"), vec!["db:1"]),
        (
            format!("{{match: [{{port: 1}}, {{port: 5432}}], {TO_OLD}}}"),
            vec!["old:1"],
        ),
        (
            format!("{{match: [{{sourceLabels: {{tier: front}}}}], {TO_OLD}}}"),
            vec!["old:1"],
        ),
        (
            format!("{{match: [{{sourceLabels: {{tier: back}}}}], {TO_OLD}}}"),
            vec!["db:1"],
        ),
        (
            format!("{{match: [{{sourceNamespace: elsewhere}}], {TO_OLD}}}"),
            vec!["db:1"],
        ),
        // A list of gateways does not replace conditions on the source here.
        (
            format!("{{match: [{{gateways: [mesh], sourceNamespace: elsewhere}}], {TO_OLD}}}"),
            vec!["db:1"],
        ),
        (
            format!("{{match: [{{gateways: [edge/front]}}], {TO_OLD}}}"),
            vec!["db:1"],
        ),
        (
            format!("{{match: [{{destinationSubnets: [10.96.0.9/24, 10.96.0.1]}}], {TO_OLD}}}"),
            vec!["old:1@10.96.0.0/24@10.96.0.1/32", "db:1"],
        ),
        (
            "{route: [{destination: {host: old}, weight: 60}, {destination: {host: db}, weight: 40}, {destination: {host: db}, weight: 0}]}".to_owned(),
            vec!["old:60+db:40"],
        ),
        (
            "{route: [{destination: {host: old}, weight: 0}]}".to_owned(),
            vec!["old:1"],
        ),
    ] {
        let plan = planned(
            SIDECAR,
            &format!("{{hosts: [db], gateways: [mesh, edge/front], tcp: [{rules}]}}"),
        );
        assert_eq!(outline(&plan, "10.96.0.1_5432"), expected, "{rules}");
        assert_eq!(outline(&plan, "10.96.0.2_5432"), ["old:1"], "another host: {rules}");
    }
}

#[test]
fn ports_of_the_tls_family_have_no_rules_of_this_kind_and_detected_ones_have() {
    let plan = planned(SIDECAR, &format!("{{hosts: [db], tcp: [{{{TO_OLD}}}]}}"));
    assert_eq!(outline(&plan, "10.96.0.1_5433"), ["db:1"]);
    assert_eq!(outline(&plan, "10.96.0.1_5434"), ["old:1"]);
}

#[test]
fn time_limits_come_from_the_rule_of_the_first_destination() {
    let route = |first: &str, second: &str| {
        format!(
            "{{hosts: [db], tcp: [{{route: [{{destination: {{host: {first}}}, weight: 1}}, {{destination: {{host: {second}}}, weight: 1}}]}}]}}"
        )
    };
    for (rules, expected) in [
        (route("old", "db"), (Some(30), Some(3600))),
        (route("db", "old"), (None, None)),
    ] {
        let plan = planned(SIDECAR, &rules);
        let chain = &chains(&plan, "10.96.0.1_5432")[0];
        let seconds = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_secs());
        assert_eq!((seconds(chain.idle_timeout), seconds(chain.duration_max)), expected);
    }
}

#[test]
fn a_gateway_serves_the_rules_that_are_bound_to_its_server_and_closes_without_any() {
    for (rules, expected) in [
        (
            format!("{{hosts: [db.test], gateways: [edge/front], tcp: [{{match: [{{port: 9000}}], {TO_OLD}}}]}}"),
            vec!["old:1"],
        ),
        (
            format!("{{hosts: [db.test], gateways: [edge/front], tcp: [{{match: [{{port: 9001}}], {TO_OLD}}}]}}"),
            vec![],
        ),
        (
            format!("{{hosts: [other.test], gateways: [edge/front], tcp: [{{{TO_OLD}}}]}}"),
            vec![],
        ),
        (
            format!("{{hosts: [db.test], gateways: [edge/other], tcp: [{{{TO_OLD}}}]}}"),
            vec![],
        ),
    ] {
        let plan = planned(GATEWAY, &rules);
        assert_eq!(outline(&plan, "0.0.0.0_9000"), expected, "{rules}");
    }
}
