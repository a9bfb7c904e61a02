//! in → out: objects → a control plane and captured pods with their proxies, ready.
//! owns: the processes of weft and the servers of the tests.
//! may not touch: what is asked.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};
use weft_testkit::eventually;

use crate::inside::PYTHON;
use crate::net::{self, HERE, PROXY_USER, Pod};

/// The objects of the tests; the mesh ConfigMap has a file of its own, since tests change it.
const OBJECTS: &str = include_str!("mesh.yaml");
/// Where the control plane reads them.
const CONFIG: &str = "/run/weft/config";

/// Names in the mesh, and their addresses in `mesh.yaml`.
const HOSTS: &str = "127.0.0.1 localhost
10.96.0.10 web web.shop web.shop.svc.cluster.local
10.96.0.11 plain.shop
10.96.0.12 chat.shop
10.96.0.13 rpc.shop
10.96.0.14 chat-plain.shop
10.96.0.15 rpc-plain.shop
10.96.0.20 db.shop
10.96.0.21 db-plain.shop
10.96.0.22 db-odd.shop
10.96.0.30 cache.shop
10.96.0.31 cache-plain.shop
10.96.0.40 greeter.shop
198.51.100.5 outside.test
";

/// A control plane, two pods that call, and a host that no object knows.
pub(crate) struct Mesh {
    /// Where clients run.
    pub(crate) client: Pod,
    /// Where servers run.
    pub(crate) server: Pod,
    /// Outside the mesh, known to nobody.
    pub(crate) outside: Pod,
    processes: Vec<Child>,
}

impl Mesh {
    /// Starts everything; servers of the tests are not among it.
    pub(crate) async fn start() -> Self {
        net::lay(HOSTS).await;
        // Reachable for the proxies' user, wherever the project lies.
        net::shell(&format!(
            "touch /run/weft/weft && mount --bind '{}' /run/weft/weft && mkdir {CONFIG} && chmod 755 /run/weft",
            env!("CARGO_BIN_EXE_weft")
        ))
        .await;
        write("mesh.yaml", OBJECTS);
        policy("ALLOW_ANY");
        let mut mesh = Mesh {
            client: Pod::join("client", "10.77.0.2").await,
            server: Pod::join("server", "10.77.0.3").await,
            outside: Pod::join("outside", "198.51.100.5").await,
            processes: Vec::new(),
        };
        let mut control = Command::new("/run/weft/weft");
        control.args(["control", "--config", CONFIG, "--xds", &format!("{HERE}:15010")]);
        mesh.spawn("control", control);
        for pod in [mesh.client.clone(), mesh.server.clone()] {
            mesh.sidecar(&pod).await;
        }
        mesh
    }

    /// Captures a pod and starts its proxy.
    pub(crate) async fn sidecar(&mut self, pod: &Pod) {
        pod.capture().await;
        let mut proxy = pod.command("setpriv");
        let node = format!("sidecar~{}~{}.shop~shop.svc.cluster.local", pod.ip, pod.name);
        proxy
            .args(["--reuid", PROXY_USER, "--regid", PROXY_USER, "--clear-groups"])
            .args(["/run/weft/weft", "proxy", "--concurrency", "2", "--node", &node])
            .args(["--xds", &format!("{HERE}:15010"), "--meta", "NAMESPACE=shop"]);
        self.spawn(pod.name, proxy);
        eventually("the sidecar is ready", async || {
            let ready = pod
                .run("curl", &["-sf", "-m", "2", "http://127.0.0.1:15000/ready"])
                .await;
            (ready.code == 0).then_some(())
        })
        .await;
    }

    /// Starts one of our Python programs in a pod and waits for its word that it listens.
    pub(crate) async fn serve(&mut self, pod: &Pod, program: &str, args: &[&str]) {
        use tokio::io::{AsyncBufReadExt, BufReader};
        let mut server = pod.command(&python());
        server.arg(program_path(program)).args(args).stdout(Stdio::piped());
        let mut child = server.spawn().expect("a server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = weft_testkit::eventually::in_time(program, lines.next_line()).await;
        assert_eq!(line.expect("a line").as_deref(), Some("ready"), "{program}");
        self.processes.push(child);
    }

    /// Keeps a process until the end of the test; what it writes goes to a file that a failed test prints.
    pub(crate) fn spawn(&mut self, name: &str, mut command: Command) {
        let log = std::fs::File::create(format!("/run/weft/{name}.log")).expect("a folder of our own");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.processes.push(child.unwrap_or_else(|e| panic!("{name}: {e}")));
    }

    /// Lines of a proxy's metrics that hold all these parts.
    pub(crate) async fn lines(&self, pod: &Pod, parts: &[&str]) -> Vec<String> {
        let page = pod
            .run("curl", &["-sf", "-m", "5", "http://127.0.0.1:15000/stats/prometheus"])
            .await;
        let page = page.good();
        let of_it = page.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        of_it.map(str::to_owned).collect()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["control", "client", "server", "mariadb"] {
                let log = std::fs::read_to_string(format!("/run/weft/{name}.log")).unwrap_or_default();
                eprintln!("--- {name}\n{log}");
            }
        }
    }
}

/// Sets the mesh's policy for destinations that nobody knows.
pub(crate) fn policy(mode: &str) {
    write(
        "config.yaml",
        &format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    outboundTrafficPolicy: {{mode: {mode}}}
"
        ),
    );
}

/// Replaces a file of the configuration as `mv` does.
fn write(name: &str, text: &str) {
    let fresh = format!("{CONFIG}/.{name}.new");
    std::fs::write(&fresh, text).expect("a folder of our own");
    std::fs::rename(&fresh, format!("{CONFIG}/{name}")).expect("a folder of our own");
}

/// The Python that has the real clients.
pub(crate) fn python() -> String {
    std::env::var(PYTHON).expect("looked at before")
}

/// One of the programs beside this file.
pub(crate) fn program_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/namespaces/programs")
        .join(name)
}
