//! One gateway as a child process: started, started again when it dies, stopped in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use weft_control::fleet::GatewayNode;

/// How long a gateway may take to finish its requests once it is asked to stop; a proxy drains for five seconds.
const STOP_AFTER: Duration = Duration::from_secs(8);

/// First pause before a dead gateway is started again; doubled each time.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// Longest such pause.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(10);

/// A gateway that has lived this long begins again with the first pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// What a gateway process is started with.
#[derive(Clone, Debug)]
pub(super) struct ChildSettings {
    pub(super) node: GatewayNode,
    pub(super) xds: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) concurrency: Option<usize>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) privileged_ports: bool,
}

/// Keeps the gateway running until `stop` is sent or dropped, then stops it.
pub(super) async fn supervise(settings: ChildSettings, mut stop: oneshot::Receiver<()>) {
    let name = format!("gateway {}/{}", settings.node.namespace, settings.node.name);
    let mut pause = RESTART_AFTER;
    loop {
        let started = Instant::now();
        let died = match spawn(&settings) {
            Ok(mut child) => {
                // Cancel safe: waiting for a child loses nothing, and the receiver is not asked again after it has answered.
                tokio::select! {
                    status = child.wait() => describe(status),
                    _ = &mut stop => return end(child, &name).await,
                }
            }
            Err(error) => format!("cannot be started: {error}"),
        };
        if started.elapsed() >= HEALTHY_AFTER {
            pause = RESTART_AFTER;
        }
        // A quarter of jitter, so that gateways that died together do not come back together.
        let wait = pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        tracing::error!("{name} {died}; starting it again in {} ms", wait.as_millis());
        tokio::select! {
            () = sleep(wait) => {}
            _ = &mut stop => return,
        }
        pause = (pause * 2).min(RESTART_AFTER_MAX);
    }
}

fn spawn(settings: &ChildSettings) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([
            "proxy",
            "--xds",
            &settings.xds.to_string(),
            "--node",
            &settings.node.id(),
        ])
        .args(["--admin", &settings.admin.to_string()])
        .args(["--parent", &std::process::id().to_string()]);
    let metadata = settings.node.metadata(settings.privileged_ports);
    for (key, value) in metadata.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        command.args(["--meta", &format!("{key}={value}")]);
    }
    if let Some(concurrency) = settings.concurrency {
        command.args(["--concurrency", &concurrency.to_string()]);
    }
    if let Some(state_dir) = &settings.state_dir {
        command.arg("--state-dir").arg(state_dir);
    }
    command.stdin(Stdio::null()).kill_on_drop(true).spawn()
}

/// Asks the gateway to stop, and insists when it has had its time.
async fn end(mut child: Child, name: &str) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    // It may have ended by itself, by the same Ctrl-C: then there is nobody to ask.
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if asked && timeout(STOP_AFTER, child.wait()).await.is_ok() {
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::warn!("{name} cannot be stopped: {error}");
    } else if asked {
        tracing::warn!("{name} did not stop within {} s and was killed", STOP_AFTER.as_secs());
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("is lost: {error}"),
    }
}
