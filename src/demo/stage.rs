//! The processes of the demo: which there are, how they are started, when all of them are ready.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use weft_bookinfo::pods::{ADMIN_PORT, CONTROL_IP, GATEWAY_IP, PODS, PORT, PROXY_PORT, Pod};
use weft_control::bootstrap::{ADMIN_PORT as CONTROL_ADMIN_PORT, XDS_PORT};
use weft_control::fleet::GatewayNode;

use super::admin::is_ready;
use super::view::View;
use crate::standalone::{ChildSettings, ChildState, probe, proxy_arguments, supervise};

/// How long everything may take to be ready.
const READY_AFTER: Duration = Duration::from_secs(30);
/// Between two looks at who is ready.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process may take to end in order.
const STOP_AFTER: Duration = Duration::from_secs(3);
/// How long proxies wait for requests in flight at the end.
const DRAIN_SECONDS: &str = "1";
/// Threads of each proxy: more than one, so that limits and shares have to hold over several.
const CONCURRENCY: &str = "2";
const NAMESPACE: &str = "default";
const GATEWAY: &str = "ingressgateway";

/// A process of the demo.
#[derive(Debug)]
pub(super) struct Process {
    /// `sidecar reviews-v3`.
    pub(super) name: String,
    /// Where it says whether it is ready.
    pub(super) address: SocketAddr,
    /// The path that says so.
    pub(super) ready: &'static str,
    /// Its log.
    pub(super) log: PathBuf,
    /// Whether it is a proxy.
    pub(super) is_proxy: bool,
    /// The child.
    pub(super) state: Arc<ChildState>,
}

/// All processes, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) processes: Vec<Process>,
    stops: Vec<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
}

/// Where the control plane answers operators.
pub(super) fn control_admin() -> SocketAddr {
    SocketAddr::new(CONTROL_IP.into(), CONTROL_ADMIN_PORT)
}

/// Where the gateway's admin server is.
pub(super) fn gateway_admin() -> SocketAddr {
    SocketAddr::new(GATEWAY_IP.into(), ADMIN_PORT)
}

fn xds() -> SocketAddr {
    SocketAddr::new(CONTROL_IP.into(), XDS_PORT)
}

/// Asks for every address once, so that one that is taken is a line and not a puzzle.
pub(super) fn check_addresses(way_in: SocketAddr) -> Result<()> {
    let of_pod = |pod: Pod| {
        [
            (pod.application(), format!("application {}", pod.name)),
            (SocketAddr::new(pod.ip(), PORT), format!("sidecar {}", pod.name)),
            (SocketAddr::new(pod.ip(), PROXY_PORT), format!("sidecar {}", pod.name)),
            (pod.admin(), format!("admin of sidecar {}", pod.name)),
        ]
    };
    let mut wanted = vec![
        (xds(), "control plane".to_owned()),
        (control_admin(), "admin of the control plane".to_owned()),
        (gateway_admin(), "admin of the gateway".to_owned()),
        (way_in, "gateway (gateway.yaml says so)".to_owned()),
    ];
    wanted.extend(PODS.into_iter().flat_map(of_pod));
    for (address, who) in wanted {
        if let Err(error) = probe(address) {
            bail!("{address} cannot be had for the {who}: {error}; does another demo run?");
        }
    }
    Ok(())
}

impl Stage {
    /// Starts everything: control plane, applications, sidecars, gateway.
    pub(super) fn start(config: &Path, work: &Path) -> Result<Self> {
        let (state, logs) = (work.join("state"), work.join("logs"));
        for folder in [&state, &logs] {
            std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        }
        let mut stage = Self {
            processes: Vec::new(),
            stops: Vec::new(),
            tasks: JoinSet::new(),
        };
        let (xds_text, admin_text) = (xds().to_string(), control_admin().to_string());
        let mut control: Vec<OsString> = ["control", "--xds", &xds_text, "--admin", &admin_text, "--config"]
            .map(OsString::from)
            .into();
        control.push(config.into());
        stage.spawn("control plane".to_owned(), &logs, control_admin(), "/ready", control);
        for pod in PODS {
            let proxy = pod.http_proxy().to_string();
            let arguments = ["demo-app", pod.name, "--http-proxy", &proxy]
                .map(OsString::from)
                .into();
            stage.spawn(
                format!("application {}", pod.name),
                &logs,
                pod.application(),
                "/admin/knobs",
                arguments,
            );
        }
        for pod in PODS {
            let id = format!(
                "sidecar~{}~{}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local",
                pod.ip(),
                pod.name
            );
            let metadata = json!({
                "NAMESPACE": NAMESPACE,
                "LABELS": { "app": pod.service, "version": pod.version },
                "SERVICE_ACCOUNT": format!("bookinfo-{}", pod.service),
                "WORKLOAD_NAME": pod.name,
                "CLUSTER_ID": "Kubernetes",
                "INTERCEPTION_MODE": "NONE",
            });
            let arguments = proxy(&id, pod.admin(), &metadata, &state);
            stage.spawn(format!("sidecar {}", pod.name), &logs, pod.admin(), "/ready", arguments);
        }
        let gateway = GatewayNode {
            name: GATEWAY.to_owned(),
            namespace: NAMESPACE.to_owned(),
            ip: GATEWAY_IP.into(),
            labels: [("app", GATEWAY), ("istio", GATEWAY)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            service_account: GATEWAY.to_owned(),
        };
        let arguments = proxy(&gateway.id(), gateway_admin(), &gateway.metadata(false), &state);
        stage.spawn("gateway".to_owned(), &logs, gateway_admin(), "/ready", arguments);
        Ok(stage)
    }

    fn spawn(
        &mut self,
        name: String,
        logs: &Path,
        address: SocketAddr,
        ready: &'static str,
        mut arguments: Vec<OsString>,
    ) {
        let is_proxy = arguments.first().is_some_and(|verb| verb == "proxy");
        let parent = std::process::id().to_string();
        arguments.extend(["--parent", &parent, "--at-once"].map(OsString::from));
        let log = logs.join(format!("{}.log", name.replace(' ', "-")));
        let state = Arc::new(ChildState::default());
        let settings = ChildSettings {
            name: name.clone(),
            arguments,
            log: Some(log.clone()),
            shares_terminal: false,
            stop_after: STOP_AFTER,
            state: state.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        self.tasks.spawn(supervise(settings, stopped));
        self.processes.push(Process {
            name,
            address,
            ready,
            log,
            is_proxy,
            state,
        });
    }

    /// Waits until every process is ready.
    ///
    /// # Errors
    /// Names who is not, with the last line that it said.
    pub(super) async fn ready(&self, view: &View) -> Result<()> {
        let bar = view.bar(self.processes.len());
        let deadline = Instant::now() + READY_AFTER;
        let mut waiting: Vec<&Process> = self.processes.iter().collect();
        loop {
            let mut still = Vec::new();
            for process in waiting {
                if process.state.starts() > 1 {
                    bail!("{} ended at its start: {}", process.name, process.last_line());
                }
                if !is_ready(process.address, process.ready).await {
                    still.push(process);
                }
            }
            waiting = still;
            let Some(first) = waiting.first() else { return Ok(()) };
            bar.at(self.processes.len() - waiting.len());
            bar.tell(&format!("ready; waiting for {}", first.name));
            if Instant::now() >= deadline {
                let names: Vec<_> = waiting.iter().map(|process| process.name.as_str()).collect();
                bail!(
                    "not ready after {READY_AFTER:?}: {}: {}",
                    names.join(", "),
                    first.last_line()
                );
            }
            sleep(LOOK).await;
        }
    }

    pub(super) fn proxies(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.is_proxy)
    }

    /// Ends all of them; waits until they are gone.
    pub(super) async fn stop(mut self) {
        self.stops.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Process {
    /// The last line of its log.
    pub(super) fn last_line(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

fn proxy(id: &str, admin: SocketAddr, metadata: &serde_json::Value, state: &Path) -> Vec<OsString> {
    let mut arguments = proxy_arguments(id, xds(), admin, metadata);
    arguments.extend(
        [
            "--concurrency",
            CONCURRENCY,
            "--drain-seconds",
            DRAIN_SECONDS,
            "--state-dir",
        ]
        .map(OsString::from),
    );
    arguments.push(state.into());
    arguments
}
