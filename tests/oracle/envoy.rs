//! A stock Envoy under a control plane of ours.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use weft_testkit::{client, eventually, mesh::free_address};

/// How a client is told to ask for resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Changes only.
    Delta,
    /// Everything of a type at once.
    StateOfTheWorld,
}

impl Dialect {
    fn api_type(self) -> &'static str {
        match self {
            Dialect::Delta => "DELTA_GRPC",
            Dialect::StateOfTheWorld => "GRPC",
        }
    }
}

/// Who an Envoy says it is.
pub(crate) struct NodeIdentity<'a> {
    /// Node id.
    pub(crate) id: &'a str,
    /// Node metadata.
    pub(crate) metadata: Value,
}

/// A running Envoy; dropping it ends it.
pub(crate) struct Envoy {
    admin: SocketAddr,
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

/// The program: `$ENVOY`, else `envoy` in the path.
///
/// # Panics
/// With the line that says how to get it. A check that is asked for and cannot be made has failed.
fn program() -> PathBuf {
    let named = std::env::var_os("ENVOY").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("envoy"))
            .find(|file| file.is_file())
    });
    match found {
        Some(program) if program.is_file() => program,
        _ => panic!("no Envoy: eval \"$(bench/setup.sh ci)\" installs it and sets ENVOY"),
    }
}

impl Envoy {
    /// Starts Envoy under the control plane at `xds` and waits until it is ready.
    pub(crate) async fn start(xds: SocketAddr, node: &NodeIdentity<'_>, dialect: Dialect) -> Self {
        let program = program();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (admin, log) = (free_address(), folder.path().join("envoy.log"));
        let config = folder.path().join("envoy.json");
        std::fs::write(&config, bootstrap(xds, admin, node, dialect).to_string()).expect("the folder is writable");
        let child =
            spawn(&program, &config, &log).unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
        let envoy = Envoy {
            admin,
            child,
            log,
            _folder: folder,
        };
        eventually("Envoy is ready", async || {
            let reply = client::get(admin, "admin", "/ready", &[]).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        envoy
    }

    /// What its admin server says.
    pub(crate) async fn ask(&self, path: &str) -> String {
        let reply = client::get(self.admin, "admin", path, &[]).await;
        reply
            .unwrap_or_else(|e| panic!("Envoy's {path}: {e}\n{}", self.log()))
            .text()
    }

    /// Its counters: name → value.
    pub(crate) async fn stats(&self) -> Vec<(String, u64)> {
        let text = self.ask("/stats").await;
        let pairs = text.lines().filter_map(|line| line.rsplit_once(": "));
        pairs
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // An Envoy that has ended by itself needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, config: &Path, log: &Path) -> io::Result<Child> {
    let log = File::create(log)?;
    Command::new(program)
        .arg("-c")
        .arg(config)
        .args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn bootstrap(xds: SocketAddr, admin: SocketAddr, node: &NodeIdentity<'_>, dialect: Dialect) -> Value {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    let http2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "node": {"id": node.id, "cluster": "oracle", "metadata": node.metadata},
        "admin": {"address": address(admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": dialect.api_type(),
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control"}}],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {"clusters": [{
            "name": "control",
            "type": "STATIC",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                    {"@type": http2, "explicit_http_config": {"http2_protocol_options": {}}},
            },
            "load_assignment": {"cluster_name": "control", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(xds)}}]},
            ]},
        }]},
    })
}
