//! The control plane and its gateways, for as long as nobody says stop.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use weft_control::app::{Control, StartError};
use weft_control::bootstrap::{Args, Bootstrap, BootstrapError, log_to_stderr};
use weft_control::fleet::{GatewayAddress, GatewayNode, gateways};
use weft_control::world::World;

use super::child::{ChildSettings, STOP_AFTER, supervise};
use super::port::{free_admin, may_bind_privileged, probe};

/// Exit code of a start that a setting prevents.
const EXIT_SETTING: u8 = 2;

/// What the operator has settled.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) control: Args,
    pub(crate) concurrency: Option<usize>,
    pub(crate) first_admin_port: u16,
    pub(crate) state_dir: Option<PathBuf>,
}

/// The gateways that run.
struct Fleet {
    settings: Settings,
    xds: SocketAddr,
    privileged_ports: bool,
    running: BTreeMap<String, Running>,
    /// Gateways that finish their last requests.
    leaving: JoinSet<()>,
}

/// A gateway that runs.
struct Running {
    node: GatewayNode,
    admin: SocketAddr,
    /// What was last said about where it listens.
    announced: Option<BTreeSet<GatewayAddress>>,
    /// Addresses that somebody else held when it was started; the gateway itself says when it gets them.
    blocked: BTreeSet<GatewayAddress>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(settings: Settings) -> ExitCode {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(anyhow::Error::new)
        .and_then(|runtime| runtime.block_on(run_until_signalled(settings)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            let by_setting = error.is::<StartError>() || error.is::<BootstrapError>();
            if by_setting {
                ExitCode::from(EXIT_SETTING)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn run_until_signalled(settings: Settings) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let bootstrap = Bootstrap::resolve(settings.control.clone())?;
    let mut control = Control::start(bootstrap).await?;
    say(&format!(
        "configuration: {}, watched for changes",
        settings.control.config.display()
    ));
    say(&format!(
        "control plane: proxies on {}, metrics and status on http://{}",
        control.xds, control.admin
    ));
    let mut fleet = Fleet {
        xds: control.xds,
        privileged_ports: may_bind_privileged(),
        running: BTreeMap::new(),
        leaving: JoinSet::new(),
        settings,
    };
    let mut worlds = control.worlds.clone();
    let outcome = loop {
        // Cancel safe: a change that is not taken in this round is still unseen in the next.
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            () = control.ended() => break Err(anyhow::anyhow!("a component of the control plane ended by itself")),
            changed = worlds.changed() => match changed {
                Ok(()) => {
                    let world = worlds.borrow_and_update().clone();
                    fleet.follow(&world);
                }
                Err(_) => break Err(anyhow::anyhow!("the reader of the configuration ended by itself")),
            },
        }
    };
    say("stopping");
    fleet.stop_all().await;
    outcome
}

impl Fleet {
    /// Starts and stops gateways so that they are those of the world.
    fn follow(&mut self, world: &Arc<World>) {
        let wanted = gateways(world);
        // A gateway whose labels have changed goes on: the control plane knows them from its Pod.
        let unwanted: Vec<_> = self
            .running
            .keys()
            .filter(|id| !wanted.contains_key(*id))
            .cloned()
            .collect();
        for id in unwanted {
            if let Some(running) = self.running.remove(&id) {
                say(&format!(
                    "gateway {}/{}: stopping",
                    running.node.namespace, running.node.name
                ));
                drop(running.stop);
                self.leaving.spawn(ended(running.task));
            }
        }
        let is_first = self.running.is_empty();
        for (id, node) in wanted {
            if !self.running.contains_key(&id) {
                self.start(id, node, world);
            }
        }
        for running in self.running.values_mut() {
            running.announce(world, self.privileged_ports);
        }
        if is_first && self.running.is_empty() {
            say("no Gateway yet: nothing listens; add one to the directory");
        }
    }

    fn start(&mut self, id: String, node: GatewayNode, world: &World) {
        let taken: Vec<_> = self.running.values().map(|running| running.admin).collect();
        let Some(admin) = free_admin(self.settings.first_admin_port, &taken) else {
            tracing::error!(
                "gateway {}/{}: no free admin port from {} on",
                node.namespace,
                node.name,
                self.settings.first_admin_port
            );
            return;
        };
        // Only now, before the gateway itself listens there, does a refusal mean somebody else.
        let mut blocked = BTreeSet::new();
        for wanted in node.addresses(world, self.privileged_ports) {
            if let Err(error) = probe(wanted.address) {
                let (object, port) = (&wanted.asked_by, wanted.address.port());
                tracing::error!("{object}: port {port} cannot be bound: {error}; the other ports go on");
                blocked.insert(wanted);
            }
        }
        let child = self.child(&node, admin);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(supervise(child, stopped));
        self.running.insert(
            id,
            Running {
                node,
                admin,
                announced: None,
                blocked,
                stop,
                task,
            },
        );
    }

    fn child(&self, node: &GatewayNode, admin: SocketAddr) -> ChildSettings {
        let metadata = node.metadata(self.privileged_ports);
        let mut arguments = proxy_arguments(&node.id(), self.xds, admin, &metadata);
        arguments.extend(["--parent".into(), std::process::id().to_string().into()]);
        if let Some(concurrency) = self.settings.concurrency {
            arguments.extend(["--concurrency".into(), concurrency.to_string().into()]);
        }
        if let Some(state_dir) = &self.settings.state_dir {
            arguments.extend(["--state-dir".into(), state_dir.into()]);
        }
        ChildSettings {
            name: format!("gateway {}/{}", node.namespace, node.name),
            arguments,
            log: None,
            shares_terminal: true,
            stop_after: STOP_AFTER,
            state: Arc::default(),
        }
    }

    async fn stop_all(&mut self) {
        let running = std::mem::take(&mut self.running);
        // All of them are asked before the first one is waited for.
        for running in running.into_values() {
            drop(running.stop);
            self.leaving.spawn(ended(running.task));
        }
        while self.leaving.join_next().await.is_some() {}
    }
}

/// The arguments of a proxy that every proxy has.
pub(crate) fn proxy_arguments(
    node: &str,
    xds: SocketAddr,
    admin: SocketAddr,
    metadata: &serde_json::Value,
) -> Vec<OsString> {
    let (xds, admin) = (xds.to_string(), admin.to_string());
    let mut arguments: Vec<OsString> = ["proxy", "--xds", &xds, "--node", node, "--admin", &admin]
        .map(OsString::from)
        .into();
    for (key, value) in metadata.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        arguments.extend(["--meta".into(), format!("{key}={value}").into()]);
    }
    arguments
}

async fn ended(supervisor: JoinHandle<()>) {
    // A supervisor that panicked has taken its child with it.
    _ = supervisor.await;
}

impl Running {
    /// Says where the gateway listens, the first time and whenever it changes.
    fn announce(&mut self, world: &World, privileged_ports: bool) {
        let mut addresses = self.node.addresses(world, privileged_ports);
        addresses.retain(|wanted| !self.blocked.contains(wanted));
        if self.announced.as_ref() == Some(&addresses) {
            return;
        }
        let listed: Vec<_> = addresses
            .iter()
            .map(|wanted| format!("{} ({})", wanted.address, wanted.asked_by))
            .collect();
        let listed = if listed.is_empty() {
            "no port".to_owned()
        } else {
            listed.join(", ")
        };
        say(&format!(
            "gateway {}/{}: {listed}; admin http://{}",
            self.node.namespace, self.node.name, self.admin
        ));
        self.announced = Some(addresses);
    }
}

/// One line on standard output; a reader that has gone is no reason to stop.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
