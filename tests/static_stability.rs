//! Starts without what one would like to have: a sidecar while the control plane is away, with real processes that are killed.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use weft_testkit::dns::{Dns, Says};
use weft_testkit::mesh::free_address;
use weft_testkit::{Client, Upstream, client, eventually, objects};

const NODE: &str = "sidecar~127.0.0.1~client-0.shop~shop.svc.cluster.local";
const NOT_USED: &str = "state file not used";
const NOT_SAVED: &str = "state file not saved";

/// A process of ours that is killed, not asked.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(log: PathBuf, arguments: &[String]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Lines of its log with `part`.
    fn lines(&self, part: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter(|line| line.contains(part)).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL. One that has ended by itself is as dead.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A pod without capture, what it calls, and its control plane.
struct Stage {
    folder: TempDir,
    xds: SocketAddr,
    admin: SocketAddr,
    control_admin: SocketAddr,
    /// The HTTP proxy of the pod, and a listener that is bound for one TCP service.
    http: SocketAddr,
    tcp: SocketAddr,
    dns: Dns,
    web: Upstream,
    far: Upstream,
}

impl Stage {
    async fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            xds: free_address(),
            admin: free_address(),
            control_admin: free_address(),
            http: free_address(),
            tcp: free_address(),
            dns: Dns::start(Says::Addresses(vec![Ipv4Addr::LOCALHOST])).await,
            web: Upstream::named("web"),
            far: Upstream::named("far"),
        };
        fs::create_dir(stage.path("config")).unwrap();
        let (http, tcp, far) = (stage.http.port(), stage.tcp.port(), stage.far.address().port());
        let platform = format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: 'proxyHttpPort: {http}'}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client-0, namespace: shop, labels: {{app: client}}}}
spec: {{serviceAccountName: client}}
status: {{phase: Running, podIP: 127.0.0.1}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: far, namespace: shop}}
spec:
  hosts: [far.test]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {far}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: raw, namespace: shop}}
spec:
  hosts: [raw.test]
  addresses: [10.9.9.9]
  resolution: STATIC
  ports: [{{number: {tcp}, name: tcp, protocol: TCP, targetPort: {far}}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  egress:
  - port: {{number: {tcp}, name: tcp, protocol: TCP}}
    bind: 127.0.0.1
    captureMode: NONE
    hosts: [./raw.test]
  - hosts: ['*/*']
"
        );
        let web = objects::service("web", &[("v1", stage.web.address())]);
        fs::write(stage.path("config/platform.yaml"), platform).unwrap();
        fs::write(stage.path("config/web.yaml"), web).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One that keeps nothing.
    fn control(&self) -> Process {
        self.control_with(&[])
    }

    fn control_with(&self, further: &[&str]) -> Process {
        let arguments = ["control", "--config", &self.path("config").display().to_string()].map(str::to_owned);
        let mut arguments = arguments.to_vec();
        arguments.extend(["--xds".to_owned(), self.xds.to_string()]);
        arguments.extend(["--admin".to_owned(), self.control_admin.to_string()]);
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        Process::start(self.path("control.log"), &arguments)
    }

    fn sidecar(&self, state: &Path) -> Process {
        let arguments = [
            "proxy",
            "--node",
            NODE,
            "--concurrency",
            "2",
            "--meta",
            "INTERCEPTION_MODE=NONE",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        arguments.extend(["--xds".to_owned(), self.xds.to_string()]);
        arguments.extend(["--admin".to_owned(), self.admin.to_string()]);
        arguments.extend(["--resolver".to_owned(), self.dns.address.to_string()]);
        arguments.extend(["--meta".to_owned(), "LABELS={\"app\":\"client\"}".to_owned()]);
        arguments.extend(["--state-dir".to_owned(), state.display().to_string()]);
        Process::start(self.path("sidecar.log"), &arguments)
    }

    /// Every way out of the pod ends where it should.
    async fn serves(&self) {
        let get = async |at, host, expected: &str| {
            eventually(&format!("{host} by {at}"), async || {
                let reply = client::get(at, host, "/", &[]).await.ok()?;
                (reply.status == 200 && reply.text() == expected).then_some(())
            })
            .await;
        };
        get(self.http, "web.shop.svc.cluster.local", "web").await;
        get(self.http, "far.test", "far").await;
        get(self.tcp, "raw.test", "far").await;
        let mut tunnel = Client::connect(self.http).await;
        tunnel
            .send("CONNECT far.test:80 HTTP/1.1\r\nhost: far.test:80\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(tunnel.reply(true).await.unwrap().status, 200, "CONNECT");
        assert_eq!(tunnel.get("far.test", "/", &[]).await.unwrap().text(), "far");
    }

    /// What becomes of a call to `web` by a sidecar that remembers nothing.
    async fn fresh_sidecar_gets(&self, status: u16) {
        let state = tempfile::tempdir().unwrap();
        let _sidecar = self.sidecar(state.path());
        self.web_answers(status).await;
    }

    async fn web_answers(&self, status: u16) {
        eventually(&format!("{status} of web"), async || {
            let reply = client::get(self.http, "web.shop.svc.cluster.local", "/", &[])
                .await
                .ok()?;
            (reply.status == status).then_some(())
        })
        .await;
    }

    fn rule(&self, status: u32) -> String {
        format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec: {{hosts: [web], http: [{{directResponse: {{status: {status}}}}}]}}
"
        )
    }

    /// The only file of a folder, once it is there.
    async fn saved(&self, state: &Path) -> PathBuf {
        eventually("something is saved", async || {
            let found = fs::read_dir(state).ok()?.next()?.ok()?.path();
            (found.extension()? == "state").then_some(found)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_killed_while_the_control_plane_is_away_serves_as_before() {
    let stage = Stage::new().await;
    let state = stage.path("state");
    let control = stage.control();
    let sidecar = stage.sidecar(&state);
    stage.serves().await;
    let file = stage.saved(&state).await;
    let entered = |name: &str| {
        let bytes = fs::read(&file).unwrap_or_default();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    // A kill leaves what was saved; the save comes within a second of the change.
    eventually("all of it is saved", async || {
        (entered("http_proxy") && entered("raw.test") && entered("far.test")).then_some(())
    })
    .await;
    drop(control);
    drop(sidecar);
    for _ in 0..2 {
        let sidecar = stage.sidecar(&state);
        stage.serves().await;
        assert_eq!(sidecar.lines(NOT_USED), 0);
    }
    // Whoever comes back is listened to.
    let sidecar = stage.sidecar(&state);
    stage.serves().await;
    let rules = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{directResponse: {status: 418}}]}
";
    fs::write(stage.path("config/rules.yaml"), rules).unwrap();
    let _control = stage.control();
    eventually("the new rule", async || {
        let reply = client::get(stage.http, "web.shop.svc.cluster.local", "/", &[])
            .await
            .ok()?;
        (reply.status == 418).then_some(())
    })
    .await;
    drop(sidecar);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_of_no_use_is_one_line_and_a_normal_start() {
    let stage = Stage::new().await;
    let state = stage.path("state");
    let _control = stage.control();
    let sidecar = stage.sidecar(&state);
    stage.serves().await;
    let file = stage.saved(&state).await;
    drop(sidecar);
    let good = fs::read(&file).unwrap();
    let text = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("cut off", good[..good.len() / 2].to_vec()),
        ("altered", text("127.0.0.1", "127.0.0.9")),
        ("of another version", text("weft-state-1", "weft-state-9")),
        ("not ours", b"\x00\xff\n\n".to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(&file, bytes).unwrap();
        let sidecar = stage.sidecar(&state);
        stage.serves().await;
        assert_eq!(sidecar.lines(NOT_USED), 1, "{what}");
    }
    // Another node's, whole.
    let other = stage.path("other");
    let arguments = [
        "proxy",
        "--node",
        "sidecar~127.0.0.1~other-0.shop~shop.svc.cluster.local",
        "--meta",
        "INTERCEPTION_MODE=NONE",
        "--xds",
        &stage.xds.to_string(),
        "--admin",
        &free_address().to_string(),
        "--state-dir",
        &other.display().to_string(),
    ];
    let process = Process::start(stage.path("other.log"), &arguments.map(str::to_owned));
    let foreign = stage.saved(&other).await;
    drop(process);
    fs::copy(foreign, &file).unwrap();
    let sidecar = stage.sidecar(&state);
    stage.serves().await;
    assert_eq!(sidecar.lines(NOT_USED), 1, "another node's");
    assert_eq!(sidecar.lines("belongs to node"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_one_line_and_serving_goes_on() {
    let stage = Stage::new().await;
    fs::write(stage.path("file"), "").unwrap();
    let _control = stage.control();
    let sidecar = stage.sidecar(&stage.path("file/state"));
    stage.serves().await;
    eventually("it is said", async || (sidecar.lines(NOT_SAVED) > 0).then_some(())).await;
    let web = fs::read_to_string(stage.path("config/web.yaml")).unwrap();
    for change in 0..3 {
        let more = web.replace("name: web", &format!("name: web{change}"));
        fs::write(stage.path(&format!("config/more{change}.yaml")), more).unwrap();
        stage.serves().await;
    }
    assert_eq!((sidecar.lines(NOT_SAVED), sidecar.lines(NOT_USED)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_while_the_control_plane_is_away_keeps_its_last_good_objects() {
    let stage = Stage::new().await;
    let state = stage.path("control-state");
    let keeping = ["--state-dir", &state.display().to_string()].map(str::to_owned);
    let control = || stage.control_with(&[&keeping[0], &keeping[1]]);
    let rules = stage.path("config/rules.yaml");
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
type: kubernetes.io/tls
data: {tls.key: cHJpdmF0ZQ==, tls.crt: Y3J0}
";
    fs::write(stage.path("config/secret.yaml"), secret).unwrap();
    fs::write(&rules, stage.rule(418)).unwrap();
    let mut process = control();
    stage.fresh_sidecar_gets(418).await;
    let file = stage.saved(&state).await;
    let holds = |text: &str| fs::read_to_string(&file).unwrap().contains(text);
    assert!(holds("418") && !holds("cHJpdmF0ZQ"), "a private key is copied");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    for broken in [
        format!("{}---\nspec: [", stage.rule(410).replace("kind", "  kind")).into_bytes(),
        stage.rule(99_999).into_bytes(),
        b"\xff\xfe".to_vec(),
    ] {
        drop(process);
        fs::write(&rules, &broken).unwrap();
        // Twice: what was held once is kept for the next start too.
        drop(control());
        process = control();
        stage.fresh_sidecar_gets(418).await;
        assert_eq!(process.lines(NOT_USED), 0);
        let said = client::get(stage.control_admin, "admin", "/debug/objects", &[])
            .await
            .unwrap()
            .text();
        assert!(
            said.contains("WFT0105") && said.contains("VirtualService/shop/web"),
            "{said}"
        );
    }

    // Corrected, then gone while nobody looks.
    fs::write(&rules, stage.rule(410)).unwrap();
    stage.fresh_sidecar_gets(410).await;
    let said = client::get(stage.control_admin, "admin", "/debug/objects", &[])
        .await
        .unwrap()
        .text();
    assert!(!said.contains("WFT0105"), "{said}");
    eventually("it is saved", async || holds("410").then_some(())).await;
    drop(process);
    fs::remove_file(&rules).unwrap();
    let process = control();
    stage.fresh_sidecar_gets(200).await;
    eventually("it is forgotten", async || (!holds("410")).then_some(())).await;

    // A file of no use is one line and a normal start.
    drop(process);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&rules, stage.rule(418)).unwrap();
    for (what, bytes) in [
        ("cut off", good[..good.len() / 2].to_owned()),
        ("of another version", good.replace("weft-objects-1", "weft-objects-9")),
        ("altered", good.replace("127.0.0.1", "127.0.0.9")),
    ] {
        fs::write(&file, bytes).unwrap();
        let process = control();
        stage.fresh_sidecar_gets(418).await;
        assert_eq!(process.lines(NOT_USED), 1, "{what}");
    }
}
