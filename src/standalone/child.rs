//! One part of the mesh as a child process: started, started again when it dies, stopped in order.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// How long a gateway may take to finish its requests once it is asked to stop; a proxy drains for five seconds.
pub(super) const STOP_AFTER: Duration = Duration::from_secs(8);

/// First pause before a dead child is started again; doubled each time.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// Longest such pause.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(10);

/// A child that has lived this long begins again with the first pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// What a process is started with.
#[derive(Clone, Debug)]
pub(crate) struct ChildSettings {
    /// Who it is, for people.
    pub(crate) name: String,
    /// Arguments of this same program.
    pub(crate) arguments: Vec<OsString>,
    /// Where what it says on standard error goes; `None`: to ours.
    pub(crate) log: Option<PathBuf>,
    /// Whether a Ctrl-C at the terminal reaches it too, besides us.
    pub(crate) shares_terminal: bool,
    /// How long it may take to end once it is asked to.
    pub(crate) stop_after: Duration,
    /// What others may know of it.
    pub(crate) state: Arc<ChildState>,
}

/// A child process as others see it. Relaxed: each figure is read by itself, for people.
#[derive(Debug, Default)]
pub(crate) struct ChildState {
    pid: AtomicU32,
    starts: AtomicU32,
}

impl ChildState {
    /// Its process, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Relaxed)).filter(|pid| *pid != 0)
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        self.starts.load(Relaxed)
    }
}

/// Keeps the process running until `stop` is sent or dropped, then stops it.
pub(crate) async fn supervise(settings: ChildSettings, mut stop: oneshot::Receiver<()>) {
    let name = settings.name.as_str();
    let mut pause = RESTART_AFTER;
    loop {
        let started = Instant::now();
        let died = match spawn(&settings) {
            Ok(mut child) => {
                // Cancel safe: waiting for a child loses nothing, and the receiver is not asked again after it has answered.
                tokio::select! {
                    status = child.wait() => describe(status),
                    _ = &mut stop => return end(child, &settings).await,
                }
            }
            Err(error) => format!("cannot be started: {error}"),
        };
        settings.state.pid.store(0, Relaxed);
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
    command.args(&settings.arguments);
    if let Some(path) = &settings.log {
        command.stderr(OpenOptions::new().create(true).append(true).open(path)?);
        command.stdout(Stdio::null());
    }
    if !settings.shares_terminal {
        command.process_group(0);
    }
    let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    settings.state.pid.store(child.id().unwrap_or_default(), Relaxed);
    settings.state.starts.fetch_add(1, Relaxed);
    Ok(child)
}

/// Asks the process to stop, and insists when it has had its time.
async fn end(mut child: Child, settings: &ChildSettings) {
    let (name, stop_after) = (&settings.name, settings.stop_after);
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    // It may have ended by itself, by the same Ctrl-C: then there is nobody to ask.
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if asked && timeout(stop_after, child.wait()).await.is_ok() {
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::warn!("{name} cannot be stopped: {error}");
    } else if asked {
        tracing::warn!("{name} did not stop within {} s and was killed", stop_after.as_secs());
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("is lost: {error}"),
    }
}
