//! The control plane's server and the proxy's client, both real, over loopback: what one is given reaches the other,
//! a refusal harms nobody else, and a restart of either end loses nothing.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weft_control::generate::ResourceSet;
use weft_control::scope::ScopeError;
use weft_control::serve::{self, Generate};
use weft_control::status::Board;
use weft_control::telemetry::Metrics;
use weft_control::world::World;
use weft_proxy::xds::{self, Sink, Status};
use weft_testkit::eventually;
use weft_xds::delta::client::Update;
use weft_xds::pb::cluster::{Cluster, cluster};
use weft_xds::pb::core::Node;
use weft_xds::pb::endpoint::ClusterLoadAssignment;
use weft_xds::pb::hcm::{self, HttpConnectionManager};
use weft_xds::pb::listener::{Filter, FilterChain, Listener, filter::ConfigType};
use weft_xds::pb::route::RouteConfiguration;
use weft_xds::{Rejection, Resource, TypeUrl, pack};

/// What every node gets: changed by the test.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(Arc<ResourceSet>, u64)>>);

impl Generate for Script {
    fn resources(&self, _: &Node) -> Result<(Arc<ResourceSet>, u64), ScopeError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

struct Server {
    address: SocketAddr,
    script: Script,
    worlds: watch::Sender<Arc<World>>,
    board: Arc<Board>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(address: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let (worlds, receiver) = watch::channel(Arc::new(World::default()));
        let (script, board) = (Script::default(), Arc::new(Board::default()));
        let settings = serve::Settings {
            generate: script.clone(),
            worlds: receiver,
            board: board.clone(),
            metrics: Arc::new(Metrics::default()),
        };
        let task = tokio::spawn(async move {
            serve::serve(listener, settings, fastrand::Rng::with_seed(1))
                .await
                .unwrap();
        });
        Self {
            address,
            script,
            worlds,
            board,
            task,
        }
    }

    fn publish(&self, set: ResourceSet) {
        let generation = self.worlds.borrow().generation + 1;
        *self.script.0.lock().unwrap() = (Arc::new(set), generation);
        self.worlds.send_replace(Arc::new(World {
            generation,
            ..World::default()
        }));
    }

    async fn stop(self) -> String {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.address.to_string()
    }
}

/// Keeps what it was given, as text; refuses what is called `bad`.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<BTreeMap<String, String>>>);

impl Sink for Keep {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let mut kept = self.0.lock().unwrap();
        let mut refused = Vec::new();
        for resource in &update.upserts {
            if &*resource.name == "bad" && update.kind == TypeUrl::Cluster {
                refused.push(Rejection {
                    name: resource.name.to_string(),
                    reason: "is bad".into(),
                });
            } else {
                kept.insert(
                    format!("{} {}", update.kind, resource.name),
                    resource.version.to_string(),
                );
            }
        }
        for name in &update.removals {
            kept.remove(&format!("{} {name}", update.kind));
        }
        refused
    }
}

impl Keep {
    fn names(&self) -> String {
        self.0.lock().unwrap().keys().cloned().collect::<Vec<_>>().join(", ")
    }

    fn version(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().get(name).cloned()
    }
}

struct Proxy {
    keep: Keep,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    fn start(server: &str, state_dir: Option<PathBuf>) -> Self {
        let keep = Keep::default();
        let (status_sender, status) = watch::channel(Status::default());
        let (stop, stopped) = watch::channel(false);
        let settings = xds::Settings {
            server: server.to_owned(),
            node: Node {
                id: "router~127.0.0.1~gw.ns~ns.svc.cluster.local".into(),
                ..Node::default()
            },
            state_dir,
            rng: fastrand::Rng::with_seed(1),
        };
        let task = tokio::spawn(xds::run(settings, keep.clone(), status_sender, stopped));
        Self {
            keep,
            status,
            stop,
            task,
        }
    }

    async fn holds(&self, expected: &str) {
        eventually(expected, async || (self.keep.names() == expected).then_some(())).await;
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

/// A listener, its route table, and clusters with endpoints; `content` marks the route table's version.
fn set(clusters: &[&str], content: &str) -> ResourceSet {
    let mut set = ResourceSet::default();
    for name in clusters {
        let message = Cluster {
            name: name.to_string(),
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
            ..Cluster::default()
        };
        set.clusters.insert(name.to_string(), Resource::encode(name, &message));
        let message = ClusterLoadAssignment {
            cluster_name: name.to_string(),
            ..Default::default()
        };
        set.endpoints.insert(name.to_string(), Resource::encode(name, &message));
    }
    let rds = hcm::Rds {
        route_config_name: "http.80".into(),
        ..Default::default()
    };
    let manager = HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        ..Default::default()
    };
    let filter = Filter {
        config_type: Some(ConfigType::TypedConfig(pack(&manager))),
        ..Default::default()
    };
    let chain = FilterChain {
        filters: vec![filter],
        ..Default::default()
    };
    let listener = Listener {
        name: "l".into(),
        filter_chains: vec![chain],
        ..Default::default()
    };
    set.listeners.insert("l".into(), Resource::encode("l", &listener));
    let table = RouteConfiguration {
        name: "http.80".into(),
        internal_only_headers: vec![content.into()],
        ..Default::default()
    };
    set.routes.insert("http.80".into(), Resource::encode("http.80", &table));
    set
}

const ALL: &str = "CDS a, EDS a, LDS l, RDS http.80";

#[tokio::test]
async fn nothing_is_answered_before_the_first_full_read_and_everything_after_it() {
    let server = Server::start("127.0.0.1:0");
    let proxy = Proxy::start(&server.address.to_string(), None);
    let mut status = proxy.status.clone();
    let early = tokio::time::timeout(
        std::time::Duration::from_millis(100),
        status.wait_for(|now| now.connected),
    );
    assert!(early.await.is_err(), "answered out of an empty world");
    server.publish(set(&["a"], "1"));
    proxy.holds(ALL).await;
    status.wait_for(|now| now.synced).await.unwrap();
    let node = "router~127.0.0.1~gw.ns~ns.svc.cluster.local";
    eventually("the board says so", async || {
        server
            .board
            .proxies()
            .iter()
            .any(|proxy| proxy.node == node && proxy.world == 1)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_resource_harms_no_other_and_is_named_on_the_board() {
    let server = Server::start("127.0.0.1:0");
    let proxy = Proxy::start(&server.address.to_string(), None);
    server.publish(set(&["a", "bad"], "1"));
    proxy.holds(ALL).await;
    let refusals = eventually("a refusal", async || {
        let proxies = server.board.proxies();
        proxies
            .first()
            .filter(|proxy| !proxy.refused.is_empty())
            .map(|proxy| proxy.refused.clone())
    })
    .await;
    assert_eq!((refusals[0].kind, refusals[0].problem.as_str()), ("CDS", "bad: is bad"));
    server.publish(set(&["a", "b", "bad"], "2"));
    proxy.holds("CDS a, CDS b, EDS a, EDS b, LDS l, RDS http.80").await;
    assert_eq!(proxy.status.borrow().rejects, 1, "the refused version was sent again");
    server.publish(set(&["b"], "2"));
    proxy.holds("CDS b, EDS b, LDS l, RDS http.80").await;
}

#[tokio::test]
async fn a_restarted_server_is_caught_up_with_and_nothing_is_unlearnt_meanwhile() {
    let server = Server::start("127.0.0.1:0");
    let proxy = Proxy::start(&server.address.to_string(), None);
    server.publish(set(&["a", "old"], "1"));
    proxy.holds("CDS a, CDS old, EDS a, EDS old, LDS l, RDS http.80").await;
    let address = server.stop().await;
    let mut status = proxy.status.clone();
    status.wait_for(|now| !now.connected).await.unwrap();
    let server = Server::start(&address);
    assert_eq!(proxy.keep.names(), "CDS a, CDS old, EDS a, EDS old, LDS l, RDS http.80");
    let before = proxy.keep.version("RDS http.80");
    server.publish(set(&["a"], "2"));
    proxy.holds(ALL).await;
    eventually("the new routes", async || {
        (proxy.keep.version("RDS http.80") != before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_starts_from_its_file_while_the_control_plane_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("127.0.0.1:0");
    let proxy = Proxy::start(&server.address.to_string(), Some(dir.path().to_owned()));
    server.publish(set(&["a"], "1"));
    proxy.holds(ALL).await;
    proxy.stop().await;
    let address = server.stop().await;

    let proxy = Proxy::start(&address, Some(dir.path().to_owned()));
    proxy.holds(ALL).await;
    assert!(proxy.status.borrow().is_ready() && !proxy.status.borrow().connected);
    // What it holds is stated, so a control plane that comes back has nothing to send.
    let server = Server::start(&address);
    server.publish(set(&["a"], "1"));
    let mut status = proxy.status.clone();
    status.wait_for(|now| now.synced).await.unwrap();
    assert_eq!(proxy.keep.names(), ALL);
    proxy.stop().await;

    // A damaged file is as good as none.
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, b"weft-state-1 0\nrubbish").unwrap();
    let proxy = Proxy::start(&server.address.to_string(), Some(dir.path().to_owned()));
    proxy.holds(ALL).await;
    assert!(!proxy.status.borrow().restored);
}
