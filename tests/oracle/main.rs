//! A check that nobody here wrote: a stock Envoy under our control plane, beside our proxy, with the same rules.
//!
//! Not part of the default run, since it needs Envoy. It fails without, it never skips.

mod alike;
mod breakers;
mod envoy;
mod filters;
mod hashes;
mod http2;
mod opaque;
mod outliers;
mod retries;
mod sidecars;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use envoy::{Dialect, Envoy, NodeIdentity};
use serde_json::{Value, json};
use weft_control::{
    generate::{ResourceSet, resources},
    scope::Scope,
    world,
};
use weft_sim::{Call, Protocol, ProxyType, Scenario, Tls};
use weft_testkit::{
    Client, Control, Proxy, ProxySettings, Upstream,
    client::{self, Reply, request},
    eventually,
    mesh::free_address,
    objects::{NAMESPACE, file, gateway, rules, service, split, subsets},
};

/// Requests of which the shares are judged.
const REQUESTS: usize = 1000;
/// Deviations of a binomial draw that are believed: five happen once in two million runs.
const SIGMAS: f64 = 5.0;
/// Window of our own split, and how far each share in it may be off.
const WINDOW: usize = 100;

/// Methods that every parser knows.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// What both proxies get: three weighted subsets, a header route, limits.
struct Canary {
    control: Control,
    node: String,
    /// The port of the rules, one for each proxy: both bind it, at different times or addresses, so each has its own.
    port: u16,
    files: Vec<(&'static str, String)>,
    _upstreams: [Upstream; 3],
}

const WEIGHTS: [(&str, u32); 3] = [("v1", 37), ("v2", 33), ("v3", 30)];

fn canary() -> Canary {
    let upstreams = ["v1", "v2", "v3"].map(Upstream::named);
    let pods: Vec<_> = ["v1", "v2", "v3"]
        .into_iter()
        .zip(&upstreams)
        .map(|(v, u)| (v, u.address()))
        .collect();
    let http = format!(
        "    - match: [{{headers: {{end-user: {{exact: jason}}}}}}]\n      route: [{{destination: {{host: web, subset: v2}}}}]\n{}",
        split("web", &WEIGHTS)
    );
    let limits = subsets("web", &["v1", "v2", "v3"])
        + "  trafficPolicy:\n    connectionPool: {tcp: {maxConnections: 100}, http: {http1MaxPendingRequests: 100}}\n    outlierDetection: {consecutive5xxErrors: 5}\n";
    let port = free_address().port();
    let files = vec![
        ("services.yaml", service("web", &pods)),
        ("gateway.yaml", gateway(port)),
        ("rules.yaml", file(&[rules("web", &http), limits])),
    ];
    let texts: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let control = Control::start(&texts);
    Canary {
        control,
        node: node_id("router", "127.0.0.1", NAMESPACE),
        port,
        files,
        _upstreams: upstreams,
    }
}

fn node_id(kind: &str, ip: &str, namespace: &str) -> String {
    format!("{kind}~{ip}~oracle.{namespace}~{namespace}.svc.cluster.local")
}

/// All that the control plane makes for this node.
fn generated(files: &[(&str, &str)], id: &str, metadata: &Value) -> ResourceSet {
    let (world, _) = world::load(files.iter().copied());
    resources(
        &world,
        &Scope::from_parts(id, metadata, &world).expect("a node id of ours"),
    )
}

/// Asserts that Envoy took everything: nothing rejected, each kind taken at least once, each resource in its dump.
async fn assert_accepted(envoy: &Envoy, made: &ResourceSet) {
    let named: BTreeSet<&String> = made
        .listeners
        .keys()
        .chain(made.routes.keys())
        .chain(made.clusters.keys())
        .chain(made.endpoints.keys())
        .collect();
    eventually("Envoy shows every generated resource", async || {
        let dump = envoy.ask("/config_dump?include_eds").await;
        let missing: Vec<_> = named
            .iter()
            .filter(|name| !dump.contains(&format!("\"{name}\"")))
            .collect();
        missing.is_empty().then_some(())
    })
    .await;
    let stats = envoy.stats().await;
    // `listener_manager.lds.…`, `cluster_manager.cds.…`, `http.<prefix>.rds.<table>.…`, `cluster.<name>.…` for EDS.
    type Belongs = fn(&str) -> bool;
    let kinds: [(&str, Belongs, bool); 4] = [
        (
            "LDS",
            |name| name.starts_with("listener_manager.lds."),
            !made.listeners.is_empty(),
        ),
        (
            "CDS",
            |name| name.starts_with("cluster_manager.cds."),
            !made.clusters.is_empty(),
        ),
        ("RDS", |name| name.contains(".rds."), !made.routes.is_empty()),
        (
            "EDS",
            |name| name.starts_with("cluster.outbound"),
            !made.endpoints.is_empty(),
        ),
    ];
    for (kind, belongs, expected) in kinds {
        let of = |what: &str| -> Vec<&(String, u64)> {
            stats
                .iter()
                .filter(|(name, _)| belongs(name) && name.ends_with(what))
                .collect()
        };
        let rejected: Vec<_> = of(".update_rejected")
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert!(rejected.is_empty(), "{kind}: {rejected:?}\n{}", envoy.log());
        let taken: u64 = of(".update_success").iter().map(|(_, count)| count).sum();
        assert!(taken > 0 || !expected, "{kind}: nothing was taken\n{}", envoy.log());
    }
}

async fn order(address: SocketAddr, fields: &[(&str, &str)], requests: usize) -> Vec<String> {
    let mut client = Client::connect(address).await;
    let mut order = Vec::new();
    for _ in 0..requests {
        let reply = client.get("shop.test", "/", fields).await.expect("a reply");
        assert_eq!(reply.status, 200);
        order.push(reply.text());
    }
    order
}

fn counts(order: &[String]) -> BTreeMap<&str, f64> {
    let mut counts = BTreeMap::new();
    for name in order {
        *counts.entry(name.as_str()).or_default() += 1.0;
    }
    counts
}

fn assert_shares(who: &str, weights: &[(&str, u32)], order: &[String], off: impl Fn(f64, f64) -> f64) {
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let (counts, requests) = (counts(order), order.len() as f64);
    for (name, weight) in weights {
        let share = f64::from(*weight) / f64::from(total);
        let found = counts.get(name).copied().unwrap_or_default();
        let allowed = off(requests, share);
        assert!(
            (found - requests * share).abs() <= allowed,
            "{who}: {name} got {found} of {requests}, share {share}"
        );
    }
}

async fn envoy_beside_us(dialect: Dialect) {
    let canary = canary();
    let labels = json!({"role": "edge"});
    let metadata = json!({"NAMESPACE": NAMESPACE, "LABELS": labels});
    let identity = NodeIdentity {
        id: &canary.node,
        metadata: metadata.clone(),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], canary.port));
    let files: Vec<_> = canary.files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    {
        let envoy = Envoy::start(canary.control.xds(), &identity, dialect).await;
        assert_accepted(&envoy, &generated(&files, &canary.node, &metadata)).await;
        let drawn = order(address, &[], REQUESTS).await;
        assert_shares("Envoy", &WEIGHTS, &drawn, |n, p| SIGMAS * (n * p * (1.0 - p)).sqrt());
        assert!(
            order(address, &[("end-user", "jason")], 50)
                .await
                .iter()
                .all(|name| name == "v2"),
            "Envoy: header route"
        );
    }
    // Envoy has let go of the port; our proxy takes its place, under the same control plane.
    let proxy = Proxy::start(
        canary.control.xds(),
        ProxySettings::gateway(NAMESPACE, &labels.to_string(), 2),
    );
    ready(&proxy).await;
    let ours = order(address, &[], REQUESTS).await;
    for window in ours.windows(WINDOW) {
        assert_shares("weft", &WEIGHTS, window, |_, _| 1.0);
    }
    assert!(
        order(address, &[("end-user", "jason")], 50)
            .await
            .iter()
            .all(|name| name == "v2"),
        "weft: header route"
    );
}

#[tokio::test]
async fn envoy_over_delta_takes_everything_and_routes_as_we_do() {
    envoy_beside_us(Dialect::Delta).await;
}

#[tokio::test]
async fn envoy_over_state_of_the_world_takes_everything_and_routes_as_we_do() {
    envoy_beside_us(Dialect::StateOfTheWorld).await;
}

/// A scenario, the ports of its gateways' servers replaced by free ones: those that it names → those that it gets.
fn scenario(path: &Path) -> (Scenario, BTreeMap<u16, u16>) {
    let text = std::fs::read_to_string(path).expect("a readable scenario");
    let mut scenario = Scenario::read(&path.display().to_string(), &text).expect("a scenario");
    // Only the port of a server has a name behind its number.
    let named = scenario.config.split("port: {number: ").skip(1);
    let named: BTreeSet<u16> = named
        .filter_map(|rest| rest.split_once(", name")?.0.parse().ok())
        .collect();
    // All are held until all are chosen, so that they differ.
    let held: Vec<_> = named
        .iter()
        .map(|_| std::net::TcpListener::bind("0.0.0.0:0").expect("a free port"))
        .collect();
    let given = held
        .iter()
        .map(|socket| socket.local_addr().expect("a bound socket has an address").port());
    let ports: BTreeMap<u16, u16> = named.into_iter().zip(given).collect();
    for (named, given) in &ports {
        let server = |port: u16| format!("port: {{number: {port}, name");
        scenario.config = scenario.config.replace(&server(*named), &server(*given));
    }
    (scenario, ports)
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testkit/tests/scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenarios are part of the project");
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

/// What a client can tell of an answer that a proxy makes itself.
fn visible(reply: &Reply) -> (u16, Option<String>, String) {
    (reply.status, reply.field("location").map(str::to_owned), reply.text())
}

#[tokio::test]
async fn envoy_takes_what_every_scenario_makes_and_answers_as_we_do() {
    for path in scenarios() {
        let (scenario, ports) = scenario(&path);
        // Those of sidecars alone are held against Envoy in `sidecars`.
        let mut proxies = scenario.proxies.iter();
        let Some(gateway) = proxies.find(|proxy| proxy.kind == ProxyType::Gateway) else {
            continue;
        };
        let id = node_id("router", &gateway.ip.to_string(), &gateway.namespace);
        let metadata = json!({"NAMESPACE": gateway.namespace, "LABELS": gateway.labels});
        let files = [("mesh.yaml", scenario.config.as_str())];
        let control = Control::start(&files);
        let at = |call: &Call| SocketAddr::from(([127, 0, 0, 1], ports[&call.port]));
        // Calls that the gateway answers itself: nothing that is routed leads anywhere here.
        let answered = |call: &&Call| {
            call.expect
                .as_ref()
                .is_some_and(|expect| expect.get("status").is_some())
        };
        let calls = scenario
            .calls
            .iter()
            .filter(|call| call.proxy == gateway.id && ports.contains_key(&call.port));
        let plain = calls.filter(|call| call.protocol == Protocol::Http && call.tls == Tls::Plaintext);
        // Envoy's parser refuses methods that it does not know; ours leaves them to the rules.
        let known = plain.filter(|call| METHODS.contains(&call.method.as_str()));
        let own: Vec<&Call> = known.filter(answered).collect();
        let mut theirs = Vec::new();
        {
            let identity = NodeIdentity {
                id: &id,
                metadata: metadata.clone(),
            };
            let envoy = Envoy::start(control.xds(), &identity, Dialect::Delta).await;
            assert_accepted(&envoy, &generated(&files, &id, &metadata)).await;
            for call in &own {
                theirs.push(visible(&ask(at(call), call).await));
            }
        }
        let settings = ProxySettings {
            node: id,
            meta: vec![
                format!("NAMESPACE={}", gateway.namespace),
                format!("LABELS={}", json!(gateway.labels)),
            ],
            workers: 1,
            state_dir: None,
            resolver: None,
        };
        let proxy = Proxy::start(control.xds(), settings);
        ready(&proxy).await;
        for (call, theirs) in own.iter().zip(theirs) {
            let mut ours = visible(&ask(at(call), call).await);
            if ours.0 >= 400 && ours.0 != 418 {
                // What a proxy writes about itself differs.
                ours.2.clone_from(&theirs.2);
            }
            if ours.0 < 400 && ours.1.is_some() {
                ours.2.clone_from(&theirs.2);
            }
            assert_eq!(ours, theirs, "{}: {}", scenario.name, call.name);
        }
    }
}

/// Waits until our gateway has its configuration and its sockets.
async fn ready(proxy: &Proxy) {
    eventually("our gateway serves", async || {
        let reply = client::get(proxy.admin(), "admin", "/ready", &[]).await.ok()?;
        (reply.status == 200).then_some(())
    })
    .await;
}

async fn ask(address: SocketAddr, call: &Call) -> Reply {
    let fields: Vec<_> = call.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut client = Client::connect(address).await;
    client
        .ask(request(&call.method, &call.host, &call.path, &fields))
        .await
        .expect("a reply")
}
