//! Our proxy behind an ADS server that is not ours: what it asks, what it refuses, what it keeps.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::json;
use tonic::Status;
use weft_control::{
    generate::{ResourceSet, resources},
    scope::Scope,
    world,
};
use weft_testkit::{
    AdsServer, AdsStream, Proxy, ProxySettings, Upstream, client, eventually,
    mesh::free_address,
    objects::{GATEWAY_LABELS, NAMESPACE, file, gateway, rules, service},
};
use weft_xds::{Resource, TypeUrl, pb, pb::discovery::DeltaDiscoveryRequest};

/// A gateway with one route to one upstream, as plain Envoy resources.
struct Resources {
    set: ResourceSet,
    address: std::net::SocketAddr,
    upstream: Upstream,
}

fn made() -> Resources {
    let (upstream, address) = (Upstream::named("one"), free_address());
    let web = service("web", &[("v1", upstream.address())]);
    let text = file(&[
        web,
        gateway(address.port()),
        rules("web", "    - route: [{destination: {host: web}}]\n"),
    ]);
    let (world, findings) = world::load([("mesh.yaml", text.as_str())]);
    assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
    let settings = settings(None);
    let metadata = json!({"NAMESPACE": NAMESPACE, "LABELS": {"role": "edge"}});
    let scope = Scope::from_parts(&settings.node, &metadata, &world).expect("a node id");
    Resources {
        set: resources(&world, &scope),
        address,
        upstream,
    }
}

fn settings(state_dir: Option<PathBuf>) -> ProxySettings {
    ProxySettings {
        state_dir,
        ..ProxySettings::gateway(NAMESPACE, GATEWAY_LABELS, 1)
    }
}

fn of(set: &ResourceSet, kind: TypeUrl) -> Vec<Resource> {
    match kind {
        TypeUrl::Cluster => set.clusters.values().cloned().collect(),
        TypeUrl::Endpoint => set.endpoints.values().cloned().collect(),
        TypeUrl::Listener => set.listeners.values().cloned().collect(),
        TypeUrl::Route => set.routes.values().cloned().collect(),
        TypeUrl::Secret => Vec::new(),
    }
}

/// Answers the first request of each type, and later ones that ask for more, until each type has been acknowledged.
/// Returns every request.
async fn serve(stream: &mut AdsStream, set: &ResourceSet) -> Vec<DeltaDiscoveryRequest> {
    let (mut seen, mut settled) = (Vec::new(), BTreeSet::new());
    while settled.len() < 4 {
        let request = stream.request().await.expect("the client keeps its stream");
        let kind = TypeUrl::parse(&request.type_url).expect("a type that is spoken");
        let first = !seen
            .iter()
            .any(|r: &DeltaDiscoveryRequest| r.type_url == request.type_url);
        if first || !request.resource_names_subscribe.is_empty() {
            stream
                .send(kind, &format!("nonce-{}", seen.len()), &of(set, kind), &[])
                .await;
        } else if !request.response_nonce.is_empty() {
            settled.insert(kind);
        }
        seen.push(request);
    }
    seen
}

async fn serves(resources: &Resources) {
    eventually("the gateway serves", async || {
        let reply = client::get(resources.address, "a", "/", &[]).await.ok()?;
        (reply.status == 200 && reply.text() == "one").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_asks_as_envoy_asks_and_serves_what_it_gets() {
    let resources = made();
    let mut server = AdsServer::start().await;
    let _proxy = Proxy::start(server.address(), settings(None));
    let requests = serve(&mut server.stream().await, &resources.set).await;
    serves(&resources).await;
    assert!(
        requests.iter().all(|request| request.error_detail.is_none()),
        "{requests:?}"
    );
    let node = requests[0].node.as_ref().expect("the first request names the node");
    assert!(node.id.starts_with("router~127.0.0.1~"), "{node:?}");
    let names = |kind: TypeUrl| -> BTreeSet<String> {
        let of_kind = requests.iter().filter(|request| request.type_url == kind.as_str());
        of_kind
            .flat_map(|request| request.resource_names_subscribe.clone())
            .collect()
    };
    // Everything of CDS and LDS; of EDS and RDS what those name.
    for kind in [TypeUrl::Cluster, TypeUrl::Listener] {
        assert!(names(kind).iter().all(|name| name == "*"), "{kind}: {:?}", names(kind));
    }
    assert_eq!(
        names(TypeUrl::Endpoint),
        resources.set.endpoints.keys().cloned().collect()
    );
    assert_eq!(names(TypeUrl::Route), resources.set.routes.keys().cloned().collect());
}

#[tokio::test]
async fn a_resource_that_does_not_validate_is_refused_by_name_and_the_rest_lives() {
    let resources = made();
    let mut server = AdsServer::start().await;
    let _proxy = Proxy::start(server.address(), settings(None));
    let mut stream = server.stream().await;
    serve(&mut stream, &resources.set).await;
    serves(&resources).await;
    let bad = pb::cluster::Cluster {
        name: "bad-cluster".into(),
        connect_timeout: Some(pb::protobuf::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let good = pb::cluster::Cluster {
        name: "good-cluster".into(),
        cluster_discovery_type: Some(pb::cluster::cluster::ClusterDiscoveryType::Type(0)),
        ..Default::default()
    };
    let both = [
        Resource::encode("bad-cluster", &bad),
        Resource::encode("good-cluster", &good),
    ];
    stream.send(TypeUrl::Cluster, "mixed", &both, &[]).await;
    let answer = loop {
        let request = stream.request_for(TypeUrl::Cluster).await;
        if request.response_nonce == "mixed" {
            break request;
        }
    };
    let reason = answer.error_detail.expect("a NACK").message;
    assert!(
        reason.contains("bad-cluster") && reason.contains("connect_timeout"),
        "{reason}"
    );
    assert!(!reason.contains("good-cluster"), "{reason}");
    serves(&resources).await;
}

#[tokio::test]
async fn a_broken_stream_unlearns_nothing_and_the_next_one_states_what_is_held() {
    let resources = made();
    let mut server = AdsServer::start().await;
    let _proxy = Proxy::start(server.address(), settings(None));
    let mut stream = server.stream().await;
    serve(&mut stream, &resources.set).await;
    serves(&resources).await;
    stream.fail(Status::unavailable("gone for a moment")).await;
    let mut stream = server.stream().await;
    let mut stated = BTreeSet::new();
    let expected: BTreeSet<String> = [
        &resources.set.clusters,
        &resources.set.endpoints,
        &resources.set.listeners,
        &resources.set.routes,
    ]
    .into_iter()
    .flat_map(|held| held.keys().cloned())
    .collect();
    while stated != expected {
        let request = stream.request().await.expect("the client keeps its stream");
        for (name, version) in request.initial_resource_versions {
            let held = of(
                &resources.set,
                TypeUrl::parse(&request.type_url).expect("a type that is spoken"),
            );
            assert!(
                held.iter().any(|one| *one.name == *name && *one.version == *version),
                "{name} at {version}"
            );
            stated.insert(name);
        }
    }
    // The new stream says nothing at all, and everything goes on.
    serves(&resources).await;
    // Only a removal removes.
    let removed: Vec<&str> = resources.set.listeners.keys().map(String::as_str).collect();
    stream.send(TypeUrl::Listener, "removal", &[], &removed).await;
    eventually("the listener is gone", async || {
        client::get(resources.address, "a", "/", &[])
            .await
            .is_err()
            .then_some(())
    })
    .await;
    assert!(resources.upstream.ledger().counts().requests > 0);
}

#[tokio::test]
async fn a_proxy_starts_from_its_folder_when_nobody_answers() {
    let resources = made();
    let folder = tempfile::tempdir().expect("a folder");
    {
        let mut server = AdsServer::start().await;
        let _proxy = Proxy::start(server.address(), settings(Some(folder.path().to_owned())));
        serve(&mut server.stream().await, &resources.set).await;
        serves(&resources).await;
        eventually("the state is written", async || {
            let mut files = std::fs::read_dir(folder.path()).expect("a folder");
            files
                .any(|entry| entry.is_ok_and(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 1000)))
                .then_some(())
        })
        .await;
    }
    let nobody = free_address();
    {
        let _proxy = Proxy::start(nobody, settings(Some(folder.path().to_owned())));
        serves(&resources).await;
    }
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("a readable folder").path();
        let mut bytes = std::fs::read(&path).expect("a readable file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("a writable file");
    }
    let mut server = AdsServer::start().await;
    let _proxy = Proxy::start(server.address(), settings(Some(folder.path().to_owned())));
    serve(&mut server.stream().await, &resources.set).await;
    serves(&resources).await;
}

#[tokio::test]
async fn a_port_that_is_taken_costs_that_listener_only_until_it_is_free() {
    let resources = made();
    let taken = std::net::TcpListener::bind(("0.0.0.0", resources.address.port())).expect("a free port");
    let mut server = AdsServer::start().await;
    let proxy = Proxy::start(server.address(), settings(None));
    serve(&mut server.stream().await, &resources.set).await;
    let dump = client::get(proxy.admin(), "admin", "/ready", &[])
        .await
        .expect("the admin server answers");
    assert_ne!(dump.status, 200, "a gateway without its listener is not ready");
    drop(taken);
    serves(&resources).await;
}
