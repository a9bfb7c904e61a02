//! A scripted upstream behind a gateway with a breaker, as processes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use weft_testkit::eventually::{eventually, in_time};

/// Refusals, as proxies count them.
pub(crate) const OVERFLOW: &str = "envoy_cluster_upstream_rq_pending_overflow{";

/// A process, and the lines that it prints.
pub(crate) struct Running {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

pub(crate) fn weft(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next line that holds `part`.
    pub(crate) async fn line(&mut self, part: &str) -> String {
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
}

/// A port that nobody holds at this moment.
fn free_port() -> u16 {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    held.local_addr().unwrap().port()
}

pub(crate) async fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// A scripted upstream behind a gateway with a breaker.
pub(crate) struct Place {
    _upstream: Running,
    _mesh: Running,
    _config: tempfile::TempDir,
    pub(crate) gateway: u16,
    pub(crate) metrics: u16,
    pub(crate) ledger: String,
}

impl Place {
    /// With the rules of `examples/breaker`, changed by `change`.
    pub(crate) async fn open(latency: &str, change: impl Fn(String) -> String) -> Self {
        let mut upstream = Running::start(weft(&format!("load serve --listen 127.0.0.1:0 --latency {latency}")));
        let line = upstream.line("serving on").await;
        let (service, ledger) = line
            .strip_prefix("serving on ")
            .unwrap()
            .split_once(", admin on http://")
            .unwrap();
        let port = service.rsplit_once(':').unwrap().1;
        let (gateway, metrics) = (free_port(), free_port());
        let config = tempfile::tempdir().unwrap();
        let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/breaker");
        for file in ["rules.yaml", "service.yaml"] {
            let text = std::fs::read_to_string(seed.join(file)).unwrap();
            let text = text.replace("9103", port).replace("8081", &gateway.to_string());
            std::fs::write(config.path().join(file), change(text)).unwrap();
        }
        let mesh = Running::start(weft(&format!(
            "standalone --concurrency 2 --xds 127.0.0.1:0 --admin 127.0.0.1:0 --gateway-admin {metrics} --config {}",
            config.path().display()
        )));
        let place = Self {
            _upstream: upstream,
            _mesh: mesh,
            _config: config,
            gateway,
            metrics,
            ledger: ledger.to_owned(),
        };
        eventually("an answer through the gateway", async || {
            ask(&format!("127.0.0.1:{gateway}"), "GET", "/", "").await
        })
        .await;
        place
    }

    /// What the proxy itself counts under `name`.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let text = ask(&format!("127.0.0.1:{}", self.metrics), "GET", "/stats/prometheus", "")
            .await
            .unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains("slow"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }
}
