//! `weft standalone` as an operator meets it: real processes, loopback, ports that were free a moment ago.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use weft_testkit::eventually::{eventually, in_time};

struct Standalone {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Standalone {
    fn start(config: &Path) -> Self {
        let mut child = command(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of standard output that holds `part`.
    async fn line(&mut self, part: &str) -> String {
        in_time(part, async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it goes on");
                if line.contains(part) {
                    return line;
                }
            }
        })
        .await
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args([
        "standalone",
        "--concurrency",
        "1",
        "--xds",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    command
        .args(["--gateway-admin", &free_port().to_string(), "--config"])
        .arg(config);
    command
}

/// A port that nobody holds at this moment.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn gateway(name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: default}}
spec:
  selector: {{istio: {name}}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*'], bind: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: ['*']
  gateways: [{name}]
  http: [{{directResponse: {{status: 299, body: {{string: from {name}}}}}}}]
"
    )
}

/// The first bytes of an answer; `None` if nobody listens.
async fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

async fn answers(port: u16, name: &str) {
    let expected = format!("from {name}");
    eventually(&expected, async || {
        ask(port).await.filter(|answer| answer.ends_with(&expected))
    })
    .await;
}

async fn closed(port: u16) {
    eventually("a closed port", async || ask(port).await.is_none().then_some(())).await;
}

fn directory(files: &[(&str, String)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let path = dir.path().to_owned();
    (dir, path)
}

#[tokio::test]
async fn gateways_come_and_go_with_their_objects_and_stop_with_the_command() {
    let (first, second) = (free_port(), free_port());
    let (_dir, path) = directory(&[("first.yaml", gateway("first", first))]);
    let mut standalone = Standalone::start(&path);
    let line = standalone.line("gateway default/first").await;
    assert!(
        line.contains(&format!("127.0.0.1:{first} (Gateway/default/first)")),
        "{line}"
    );
    answers(first, "first").await;
    std::fs::write(path.join("second.yaml"), gateway("second", second)).unwrap();
    answers(second, "second").await;
    std::fs::remove_file(path.join("first.yaml")).unwrap();
    closed(first).await;
    answers(second, "second").await;
    standalone.signal(rustix::process::Signal::TERM);
    let status = in_time("the end", standalone.child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(ask(second).await.is_none(), "no gateway outlives the command");
}

#[tokio::test]
async fn gateways_end_even_if_their_parent_is_killed() {
    let port = free_port();
    let (_dir, path) = directory(&[("a.yaml", gateway("orphan", port))]);
    let mut standalone = Standalone::start(&path);
    answers(port, "orphan").await;
    standalone.child.kill().await.unwrap();
    closed(port).await;
}

#[tokio::test]
async fn a_port_that_somebody_holds_costs_no_other_and_is_named() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (taken, free) = (held.local_addr().unwrap().port(), free_port());
    let (_dir, path) = directory(&[("a.yaml", gateway("taken", taken)), ("b.yaml", gateway("free", free))]);
    let mut child = command(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let named = in_time("the port by its name", async {
        loop {
            let line = log.next_line().await.unwrap().expect("it goes on");
            if line.contains("Gateway/default/taken") && line.contains(&taken.to_string()) {
                return line;
            }
        }
    });
    assert!(named.await.contains("in use"));
    answers(free, "free").await;
}

#[tokio::test]
async fn a_directory_that_is_missing_ends_the_command_with_its_name() {
    let (_dir, path) = directory(&[]);
    let missing = path.join("nowhere");
    let output = in_time("the end", command(&missing).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere does not exist"));
}
