//! The control plane, one line per component in the order in which they start. Stopping is dropping.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::{io, thread};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::bootstrap::{Args, Bootstrap, BootstrapError, log_to_stderr};
use crate::cache::Cache;
use crate::status::Board;
use crate::telemetry::Metrics;
use crate::watch::{Event, FileSource, OpenError};
use crate::world::{self, World};
use crate::{admin, serve};

/// Exit code of a start that a setting prevents.
const EXIT_SETTING: u8 = 2;

/// Runs a control plane until SIGINT or SIGTERM.
pub fn run(args: Args) -> ExitCode {
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error), 1),
    };
    match runtime.block_on(run_until_signalled(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let by_setting = error.is::<StartError>() || error.is::<BootstrapError>();
            fail(&error, if by_setting { EXIT_SETTING } else { 1 })
        }
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}

async fn run_until_signalled(args: Args) -> anyhow::Result<()> {
    let bootstrap = Bootstrap::resolve(args)?;
    let config = bootstrap.config.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut control = Control::start(bootstrap).await?;
    tracing::info!(
        "reading {}; serving proxies on {}, metrics and debug pages on {}",
        config.display(),
        control.xds,
        control.admin
    );
    // Cancel safe: whichever comes first ends the process.
    tokio::select! {
        _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
        _ = terminate.recv() => tracing::info!("stopping: asked to terminate"),
        () = control.ended() => anyhow::bail!("a component of the control plane ended by itself"),
    }
    Ok(())
}

/// A started control plane. Dropping it stops it.
#[derive(Debug)]
pub struct Control {
    /// Where proxies are served.
    pub xds: SocketAddr,
    /// Where operators ask.
    pub admin: SocketAddr,
    /// The newest world, as it changes.
    pub worlds: watch::Receiver<Arc<World>>,
    /// What is known about every object.
    pub board: Arc<Board>,
    tasks: tokio::task::JoinSet<()>,
    _stop_writer: oneshot::Sender<()>,
}

/// Why a control plane does not start. Each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The source of objects.
    #[error("--config")]
    Source(#[from] OpenError),
    /// A port.
    #[error("{flag} {address}: cannot listen there")]
    Listen {
        /// The flag that names the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Control {
    /// Starts every component on the current runtime, and the writer of the world on a thread of its own: reading
    /// ten thousand objects must not hold up an acknowledgement.
    ///
    /// # Errors
    /// If the directory cannot be read or a port is taken.
    pub async fn start(bootstrap: Bootstrap) -> Result<Self, StartError> {
        let (source, first) = FileSource::open_with(bootstrap.config, bootstrap.state_dir.as_deref())?;
        let (xds, xds_address) = listen("--xds", bootstrap.xds).await?;
        let (admin, admin_address) = listen("--admin", bootstrap.admin).await?;
        let (board, metrics) = (Arc::new(Board::default()), Arc::new(Metrics::default()));
        let (sender, worlds) = watch::channel(Arc::new(World::default()));
        let stop_writer = spawn_writer(source, first, sender, board.clone(), metrics.clone())?;
        let mut tasks = tokio::task::JoinSet::new();
        let settings = serve::Settings {
            generate: Cache::new(worlds.clone()),
            worlds: worlds.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(serve_proxies(xds, settings));
        tasks.spawn(admin::serve(
            admin,
            admin::Sources {
                board: board.clone(),
                metrics,
                worlds: worlds.clone(),
            },
        ));
        Ok(Self {
            xds: xds_address,
            admin: admin_address,
            worlds,
            board,
            tasks,
            _stop_writer: stop_writer,
        })
    }

    /// Ends when a component does, which none should.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }
}

/// The ages of streams are spread at random, so that no two replicas agree on them.
async fn serve_proxies(listener: TcpListener, settings: serve::Settings<Cache>) {
    if let Err(error) = serve::serve(listener, settings, fastrand::Rng::new()).await {
        tracing::error!("{:#}", anyhow::Error::new(error));
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Runs the writer until the returned sender is dropped.
fn spawn_writer(
    source: FileSource,
    first: Vec<Event>,
    worlds: watch::Sender<Arc<World>>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
) -> Result<oneshot::Sender<()>, StartError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(StartError::Thread)?;
    let work = async move {
        // Cancel safe: what is dropped at the end is dropped for good. An error means the same as a message: stop.
        tokio::select! {
            () = world::keep(source, first, worlds, board, metrics) => {}
            _ = stopped => {}
        }
    };
    thread::Builder::new()
        .name("weft-world".to_owned())
        .spawn(move || runtime.block_on(work))
        .map_err(StartError::Thread)?;
    Ok(stop)
}
