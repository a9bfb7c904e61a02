//! in → out: flags and environment → `Bootstrap`, read once.
//! owns: what a proxy has to know before it has heard of any resource.
//! may not touch: anything that xDS can change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use clap::Parser;
use rustc_hash::FxHashMap;

use crate::open_files;
use crate::telemetry::labels::OwnLabels;

/// Environment variables with this prefix are node metadata, as with Istio's agent.
const META_PREFIX: &str = "ISTIO_META_";
/// More workers than any machine that this is meant for has cores.
const WORKERS_MAX: usize = 512;

/// The flags of `weft proxy`, as typed.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "weft-proxy",
    about = "The data plane: a sidecar or a gateway that takes its configuration over xDS"
)]
pub struct Args {
    /// Address of the control plane's xDS server, in plain text: host:port.
    #[arg(long, env = "WEFT_XDS", value_name = "ADDR")]
    pub xds: String,
    /// Node id: type~address~name.namespace~namespace.svc.domain
    #[arg(long, env = "WEFT_NODE", value_name = "ID")]
    pub node: String,
    /// Worker threads [default: the CPU quota of the cgroup, at least 1].
    #[arg(long, env = "WEFT_CONCURRENCY", value_name = "N")]
    pub concurrency: Option<usize>,
    /// Folder for the last accepted resources, from which the proxy starts when the control plane is away.
    #[arg(long, env = "WEFT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of the admin server. Keep it on loopback.
    #[arg(long, env = "WEFT_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// DNS server for the names of upstreams [default: those of /etc/resolv.conf].
    #[arg(long, env = "WEFT_RESOLVER", value_name = "ADDR")]
    pub resolver: Option<SocketAddr>,
    /// Further address that serves only /stats/prometheus and readiness, for a scraper on the network.
    #[arg(long, env = "WEFT_STATS", value_name = "ADDR")]
    pub stats: Option<SocketAddr>,
    /// Node metadata; the value is JSON, or text if it is none. May be given several times; beats ISTIO_META_KEY.
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    pub meta: Vec<String>,
    /// How long requests in flight are waited for at the end, in seconds.
    #[arg(long, env = "WEFT_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 5)]
    pub drain_seconds: u64,
    /// Downstream connections of the whole proxy, at the most half of the open files it may have; further ones are closed at once.
    #[arg(long, env = "WEFT_CONNECTIONS_MAX", value_name = "N", default_value_t = 100_000)]
    pub connections_max: usize,
}

/// Flags that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The node id is not of its form.
    #[error("--node {0:?}: must be type~address~name.namespace~domain, with type sidecar or router")]
    Node(String),
    /// A metadata argument is not of its form.
    #[error("--meta {0:?}: must be KEY=VALUE")]
    Meta(String),
    /// The number of workers is out of bounds.
    #[error("--concurrency {0}: must be from 1 to {WORKERS_MAX}")]
    Concurrency(usize),
    /// Too few connections.
    #[error("--connections-max {0}: must be at least the number of workers")]
    Connections(usize),
}

/// Checked settings of a proxy.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Control plane, host and port.
    pub xds: String,
    /// Node id.
    pub node: String,
    /// Node metadata.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Worker threads, at least 1.
    pub concurrency: usize,
    /// Where accepted resources are kept.
    pub state_dir: Option<PathBuf>,
    /// DNS server, where it is not the machine's.
    pub resolver: Option<SocketAddr>,
    /// Admin server; port 0 asks for any.
    pub admin: SocketAddr,
    /// Server for scrapers.
    pub stats: Option<SocketAddr>,
    /// Longest wait for requests in flight at the end.
    pub drain: Duration,
    /// Downstream connections per worker.
    pub connections_per_worker: usize,
    /// Who this proxy is in metrics.
    pub own: OwnLabels,
    /// Name of this host.
    pub hostname: String,
    /// The environment.
    pub environment: FxHashMap<String, String>,
    /// The calendar at the start.
    pub started_at: SystemTime,
}

impl Bootstrap {
    /// Checks flags and reads the environment.
    ///
    /// # Errors
    /// One line for the flag that is wrong and what would be right.
    pub fn resolve(args: Args) -> Result<Self, BootstrapError> {
        let environment: FxHashMap<String, String> = std::env::vars().collect();
        let parts: Vec<&str> = args.node.split('~').collect();
        if parts.len() != 4 || !matches!(parts[0], "sidecar" | "router") {
            return Err(BootstrapError::Node(args.node));
        }
        let metadata = metadata(&environment, &args.meta)?;
        let concurrency = match args.concurrency {
            Some(count) if (1..=WORKERS_MAX).contains(&count) => count,
            Some(count) => return Err(BootstrapError::Concurrency(count)),
            // Takes the quota of the cgroup into account.
            None => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(WORKERS_MAX),
        };
        if args.connections_max < concurrency {
            return Err(BootstrapError::Connections(args.connections_max));
        }
        let own = own_labels(parts[2], &metadata);
        Ok(Self {
            xds: args.xds,
            metadata,
            concurrency,
            state_dir: args.state_dir,
            resolver: args.resolver,
            admin: args.admin,
            stats: args.stats,
            drain: Duration::from_secs(args.drain_seconds),
            connections_per_worker: (open_files::connections_max(args.connections_max) / concurrency).max(1),
            own,
            hostname: environment
                .get("HOSTNAME")
                .cloned()
                .unwrap_or_else(|| parts[2].to_owned()),
            environment,
            started_at: wall_clock(),
            node: args.node,
        })
    }
}

/// Panics since the start. Relaxed: it is read by itself, for people.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Makes every panic one log line and one count in `weft_bug_total`. tokio ends the task it happened in, and nothing else.
pub(crate) fn count_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Relaxed);
        tracing::error!("a bug in weft: {panic}");
    }));
}

/// Panics since the start.
pub(crate) fn panics() -> u64 {
    PANICS.load(Relaxed)
}

/// Starts logging to standard error; `RUST_LOG` chooses, `info` is the default. A second call changes nothing.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only when a subscriber is set already, as when a whole mesh runs in one process.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .ok();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the proxy that reads the calendar"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn metadata(
    environment: &FxHashMap<String, String>,
    flags: &[String],
) -> Result<BTreeMap<String, serde_json::Value>, BootstrapError> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text));
    let mut metadata: BTreeMap<String, serde_json::Value> = environment
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(META_PREFIX)?.to_owned(), value(text))))
        .collect();
    for flag in flags {
        let (key, text) = flag.split_once('=').ok_or_else(|| BootstrapError::Meta(flag.clone()))?;
        metadata.insert(key.to_owned(), value(text));
    }
    Ok(metadata)
}

/// Istio's `source_…` labels out of node id and metadata.
fn own_labels(name: &str, metadata: &BTreeMap<String, serde_json::Value>) -> OwnLabels {
    let text = |key: &str| metadata.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let label = |key: &str| {
        metadata
            .get("LABELS")
            .and_then(|labels| labels.get(key)?.as_str())
            .map(str::to_owned)
    };
    let (pod, namespace) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut own = OwnLabels {
        workload: text("WORKLOAD_NAME").unwrap_or_else(|| pod.to_owned()),
        ..OwnLabels::default()
    };
    if let Some(namespace) = text("NAMESPACE").or_else(|| Some(namespace.to_owned()).filter(|name| !name.is_empty())) {
        own.namespace = namespace;
    }
    let app = label("app").or_else(|| label("app.kubernetes.io/name"));
    own.canonical_service = label("service.istio.io/canonical-name")
        .or_else(|| app.clone())
        .unwrap_or_else(|| own.workload.clone());
    if let Some(revision) = label("service.istio.io/canonical-revision").or_else(|| label("version")) {
        own.canonical_revision = revision;
    }
    if let Some(app) = app {
        own.app = app;
    }
    if let Some(version) = label("version") {
        own.version = version;
    }
    if let Some(cluster) = text("CLUSTER_ID") {
        own.cluster = cluster;
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &[&str]) -> Result<Bootstrap, String> {
        let args = Args::try_parse_from(["weft-proxy", "--xds", "127.0.0.1:1"].iter().chain(flags)).unwrap();
        Bootstrap::resolve(args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_and_its_metadata_become_labels() {
        let labels = r#"LABELS={"app":"web","version":"v2"}"#;
        let bootstrap = resolve(&[
            "--node",
            "router~127.0.0.1~gw-1.shop~shop.svc.cluster.local",
            "--meta",
            labels,
            "--meta",
            "CLUSTER_ID=k1",
        ]);
        let own = bootstrap.unwrap().own;
        assert_eq!((own.workload.as_str(), own.namespace.as_str()), ("gw-1", "shop"));
        assert_eq!((own.app.as_str(), own.version.as_str()), ("web", "v2"));
        assert_eq!(
            (own.canonical_service.as_str(), own.canonical_revision.as_str()),
            ("web", "v2")
        );
        assert_eq!(own.cluster, "k1");
    }

    #[test]
    fn flags_that_make_no_sense_say_what_would() {
        let node = "router~127.0.0.1~a.b~b.svc.cluster.local";
        for (flags, message) in [
            (
                vec!["--node", "x"],
                "--node \"x\": must be type~address~name.namespace~domain, with type sidecar or router",
            ),
            (vec!["--node", node, "--meta", "x"], "--meta \"x\": must be KEY=VALUE"),
            (
                vec!["--node", node, "--concurrency", "0"],
                "--concurrency 0: must be from 1 to 512",
            ),
        ] {
            assert_eq!(resolve(&flags).unwrap_err(), message);
        }
    }
}
