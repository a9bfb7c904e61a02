//! in → out: the address of a control plane and a node id → a running proxy, in this process, on a thread of its own.
//! owns: its start and its stop.
//! may not touch: its settings beyond what a command line can say.

use std::{net::SocketAddr, path::PathBuf, sync::mpsc, thread::JoinHandle};

use tokio::sync::oneshot;
use weft_proxy::{
    app,
    bootstrap::{Args, Bootstrap},
};

use crate::eventually::DEADLINE;

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a test may choose about a proxy.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// Node id.
    pub node: String,
    /// Node metadata, as on the command line.
    pub meta: Vec<String>,
    /// Worker threads.
    pub workers: usize,
    /// Folder for accepted resources.
    pub state_dir: Option<PathBuf>,
    /// DNS server.
    pub resolver: Option<SocketAddr>,
}

impl ProxySettings {
    /// A gateway with these labels, JSON as in node metadata.
    pub fn gateway(namespace: &str, labels: &str, workers: usize) -> Self {
        Self {
            node: format!("router~127.0.0.1~gateway.{namespace}~{namespace}.svc.cluster.local"),
            meta: vec![format!("NAMESPACE={namespace}"), format!("LABELS={labels}")],
            workers,
            state_dir: None,
            resolver: None,
        }
    }
}

impl Proxy {
    /// Starts a proxy. It asks `xds` for everything.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(xds: SocketAddr, settings: ProxySettings) -> Self {
        let args = Args {
            xds: xds.to_string(),
            node: settings.node,
            concurrency: Some(settings.workers),
            state_dir: settings.state_dir,
            resolver: settings.resolver,
            admin: "127.0.0.1:0".parse().expect("a literal address"),
            stats: None,
            meta: settings.meta,
            drain_seconds: 1,
            connections_max: 10_000,
        };
        let bootstrap = Bootstrap::resolve(args).expect("a test asks for what can be");
        let (sender, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let told = move |admin| sender.send(admin).expect("the test waits for it");
            let stopped = async move { _ = stopped.await };
            app::run_until(bootstrap, told, stopped).expect("a proxy starts and stops");
        });
        let admin = started.recv_timeout(DEADLINE).expect("the proxy starts");
        Proxy {
            admin,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its admin server.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A proxy that has ended by itself has printed why.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
