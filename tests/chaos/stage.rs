//! in → out: –. A control plane, a gateway and three sidecars on loopback addresses, each a process that can be killed.
//! owns: their processes, files and addresses.
//! may not touch: requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weft_testkit::mesh::free_address;
use weft_testkit::{Behaviour, Upstream, client, eventually};

use crate::load::Way;

/// All proxies.
pub(crate) const GATEWAY_AND_SIDECARS: [&str; 4] = ["gateway", "caller", "v1", "v2"];
/// Port of the service, of its pods and of their applications.
const PORT: u16 = 9080;
const HTTP_PROXY: u16 = 15080;
/// How long an application takes: something is in flight when its proxy is killed.
const WORK: Duration = Duration::from_millis(8);

pub(crate) struct Stage {
    folder: tempfile::TempDir,
    /// The third part of all addresses, so that two stages do not meet.
    net: u8,
    gateway: SocketAddr,
    xds: SocketAddr,
    control: Option<Child>,
    proxies: Vec<(&'static str, Child)>,
    _applications: [Upstream; 2],
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for part in ["config", "state"] {
            std::fs::create_dir(folder.path().join(part)).expect("a folder of our own");
        }
        let net = free_net();
        let at = |last| SocketAddr::from(([127, 88, net, last], PORT));
        let v1 = Upstream::start_on(at(101), |_| Behaviour::ok("v1").after(WORK));
        let v2 = Upstream::start_on(at(102), |_| Behaviour::ok("v2").after(WORK));
        let mut stage = Stage {
            folder,
            net,
            gateway: free_address(),
            xds: free_address(),
            control: None,
            proxies: Vec::new(),
            _applications: [v1, v2],
        };
        stage.write("mesh.yaml", MESH);
        stage.write(
            "gateway.yaml",
            &GATEWAY.replace("PORT", &stage.gateway.port().to_string()),
        );
        stage.pods(&["v1", "v2"]);
        stage.subsets("");
        stage.rule("v1");
        stage.start_control().await;
        for name in GATEWAY_AND_SIDECARS {
            stage.start_sidecar(name).await;
        }
        stage
    }

    /// By the gateway, and by the sidecar of a caller.
    pub(crate) fn ways(&self) -> [Way; 2] {
        let caller = SocketAddr::new(self.ip("caller"), HTTP_PROXY);
        [
            Way {
                address: self.gateway,
                host: "shop.test",
            },
            Way {
                address: caller,
                host: "web:9080",
            },
        ]
    }

    pub(crate) async fn start_control(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.arg("control").arg("--config").arg(self.path("config"));
        command.args(["--xds", &self.xds.to_string(), "--admin", "127.0.0.1:0"]);
        self.control = Some(self.spawn("control", command));
        let xds = self.xds;
        eventually("the control plane serves", async || {
            tokio::net::TcpStream::connect(xds).await.ok()
        })
        .await;
    }

    /// As `kill -9` does.
    pub(crate) async fn kill_control(&mut self) {
        end(&mut self.control.take().expect("it runs"));
    }

    pub(crate) async fn start_sidecar(&mut self, name: &'static str) {
        let ip = self.ip(name);
        let admin = SocketAddr::new(ip, 15000);
        let kind = if name == "gateway" { "router" } else { "sidecar" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["proxy", "--concurrency", "2", "--xds", &self.xds.to_string()]);
        command.args(["--node", &format!("{kind}~{ip}~{name}.shop~shop.svc.cluster.local")]);
        command.args(["--admin", &admin.to_string(), "--meta", "NAMESPACE=shop"]);
        match name {
            "gateway" => command.args(["--meta", "LABELS={\"role\":\"edge\"}"]),
            _ => command.args(["--meta", "INTERCEPTION_MODE=NONE"]),
        };
        command.arg("--state-dir").arg(self.path("state"));
        let child = self.spawn(name, command);
        self.proxies.push((name, child));
        eventually(&format!("{name} is ready"), async || {
            let reply = client::get(admin, "admin", "/ready", &[]).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        let serves = match name {
            "gateway" => self.gateway,
            "caller" => SocketAddr::new(ip, HTTP_PROXY),
            _ => SocketAddr::new(ip, PORT),
        };
        eventually(&format!("{name} serves at {serves}"), async || {
            tokio::net::TcpStream::connect(serves).await.ok()
        })
        .await;
    }

    /// As `kill -9` does.
    pub(crate) async fn kill_sidecar(&mut self, name: &str) {
        let at = self
            .proxies
            .iter()
            .position(|(known, _)| *known == name)
            .expect("it runs");
        end(&mut self.proxies.remove(at).1);
    }

    /// Damages what a proxy keeps on disk.
    pub(crate) fn damage_state(&self, name: &str, damage: &str) {
        let file = self.state_file(name);
        let mut bytes = std::fs::read(&file).expect("its state");
        match damage {
            "cut" => bytes.truncate(bytes.len() / 2),
            "flipped" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            "emptied" => bytes.clear(),
            _ => bytes = b"\xff\xfe nothing that anybody wrote".repeat(100),
        }
        std::fs::write(file, bytes).expect("a folder of our own");
    }

    /// Whether the state of a proxy names this subset, and no other, as the destination of its routes.
    pub(crate) fn keeps(&self, name: &str, version: &str) -> bool {
        let state = std::fs::read(self.state_file(name)).expect("its state");
        let state = String::from_utf8_lossy(&state);
        let count = |version| state.matches(&format!("|{version}|")).count();
        let other = if version == "v1" { "v2" } else { "v1" };
        count(version) > count(other)
    }

    /// Lines above `info` that a process wrote since its last start and that hold this word.
    pub(crate) fn log_lines(&self, name: &str, word: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).expect("its log");
        let lines = log.lines().filter(|l| l.contains("WARN") || l.contains("ERROR"));
        lines.filter(|line| line.contains(word)).map(str::to_owned).collect()
    }

    /// Who gets all requests: `v1`, `v2` or `both`.
    pub(crate) fn rule(&self, version: &str) {
        let routes = match version {
            "both" => "{destination: {host: web}}".to_owned(),
            "canary" => {
                "{destination: {host: web, subset: canary}, weight: 50}, {destination: {host: second}, weight: 50}"
                    .to_owned()
            }
            one => format!("{{destination: {{host: web, subset: {one}}}}}"),
        };
        self.write("rule.yaml", &RULE.replace("ROUTES", &routes));
    }

    /// One of the three edits of a canary, or its undoing: the rule, and the subset and the service that it names.
    pub(crate) fn canary(&self, edit: usize, is_on: bool) {
        match (edit, is_on) {
            (0, true) => self.rule("canary"),
            (0, false) => self.rule("v1"),
            (1, true) => self.subsets(", {name: canary, labels: {version: v2}}"),
            (1, false) => self.subsets(""),
            (_, true) => self.write("second.yaml", SECOND),
            (_, false) => std::fs::remove_file(self.path("config/second.yaml")).expect("it was written"),
        }
    }

    /// Which pods there are, beside the caller's.
    pub(crate) fn pods(&self, versions: &[&str]) {
        let pod = |name: &str| {
            let (ip, net) = (self.ip(name), self.net);
            let (labels, last) = match name {
                "caller" => ("app: caller".to_owned(), 103),
                "v1" => ("app: web, version: v1".to_owned(), 101),
                _ => ("app: web, version: v2".to_owned(), 102),
            };
            POD.replace("NAME", name)
                .replace("LABELS", &labels)
                .replace("APPLICATION", &format!("127.88.{net}.{last}"))
                .replace("ADDRESS", &ip.to_string())
        };
        let names = std::iter::once(&"caller").chain(versions);
        self.write(
            "pods.yaml",
            &names.map(|name| pod(name)).collect::<Vec<_>>().join("---\n"),
        );
    }

    fn subsets(&self, more: &str) {
        self.write("subsets.yaml", &SUBSETS.replace("MORE", more));
    }

    fn ip(&self, name: &str) -> IpAddr {
        let last = match name {
            "v1" => 11,
            "v2" => 12,
            "caller" => 13,
            _ => 14,
        };
        IpAddr::V4(Ipv4Addr::new(127, 88, self.net, last))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state_file(&self, name: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.path("state")).expect("a folder of our own");
        let mut files = entries.map(|entry| entry.expect("a readable folder").path());
        let mark = format!("~{name}.shop~");
        files
            .find(|file| file.to_string_lossy().contains(&mark))
            .unwrap_or_else(|| panic!("{name} keeps no state"))
    }

    /// Replaces a file of the configuration as `mv` does.
    fn write(&self, name: &str, text: &str) {
        let (config, fresh) = (self.path("config"), self.path("fresh"));
        std::fs::write(&fresh, text).expect("a folder of our own");
        std::fs::rename(fresh, config.join(name)).expect("a folder of our own");
    }

    fn spawn(&self, name: &str, mut command: Command) -> Child {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).expect("a folder of our own");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        child.unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let control = self.control.iter_mut();
        control
            .chain(self.proxies.iter_mut().map(|(_, child)| child))
            .for_each(end);
        if std::thread::panicking() {
            for name in GATEWAY_AND_SIDECARS.iter().chain(&["control"]) {
                let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                eprintln!("--- {name}\n{log}");
            }
        }
    }
}

fn end(child: &mut Child) {
    // What has ended by itself needs no end.
    let _ = child.kill();
    let _ = child.wait();
}

/// A part of loopback that nobody uses now.
fn free_net() -> u8 {
    let free = |net: &u8| std::net::TcpListener::bind((Ipv4Addr::new(127, 88, *net, 101), PORT)).is_ok();
    std::iter::repeat_with(|| fastrand::u8(1..=250))
        .find(free)
        .expect("loopback is large")
}

const MESH: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'proxyHttpPort: 15080'}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports: [{name: http, port: 9080, targetPort: 9080}]
";

const SECOND: &str = "apiVersion: v1
kind: Service
metadata: {name: second, namespace: shop}
spec:
  clusterIP: 10.96.0.11
  selector: {app: web, version: v2}
  ports: [{name: http, port: 9080, targetPort: 9080}]
";

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {role: edge}
  servers: [{port: {number: PORT, name: http, protocol: HTTP}, hosts: ['*']}]
";

const RULE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local, shop.test]
  gateways: [edge, mesh]
  http: [{route: [ROUTES]}]
";

const SUBSETS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}MORE]
";

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: shop, labels: {LABELS}, annotations: {weft.dev/application-address: APPLICATION}}
spec: {containers: [{name: app, image: example.test/app}]}
status: {phase: Running, podIP: ADDRESS, conditions: [{type: Ready, status: 'True'}]}
";
