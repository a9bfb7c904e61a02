//! The circuit-breaker exercise against real proxies: what the load tester counts, the proxy counts too, and the upstream's
//! ledger never shows more than the limit.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use weft_testkit::eventually::{eventually, in_time};

/// A process, and the lines that it prints.
struct Running {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn weft(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next line that holds `part`.
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
}

/// A port that nobody holds at this moment.
fn free_port() -> u16 {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    held.local_addr().unwrap().port()
}

async fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<String> {
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
struct Place {
    _upstream: Running,
    _mesh: Running,
    _config: tempfile::TempDir,
    gateway: u16,
    metrics: u16,
    ledger: String,
}

impl Place {
    /// With the rules of `examples/breaker`, changed by `change`.
    async fn open(latency: &str, change: impl Fn(String) -> String) -> Self {
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

    /// Runs the exercise; its exit code and its findings.
    async fn exercise(&self, flags: &str) -> (Option<i32>, Value) {
        let output = weft(&format!(
            "load breaker http://127.0.0.1:{}/ --metrics http://127.0.0.1:{}/stats/prometheus --cluster slow --ledger http://{} \
             --output json {flags}",
            self.gateway, self.metrics, self.ledger
        ))
        .output();
        let output = in_time("the exercise", output).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let findings = serde_json::from_str(&text);
        let findings =
            findings.unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), findings)
    }

    /// What the proxy itself counts under `name`.
    async fn counted(&self, name: &str) -> u64 {
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

const OVERFLOW: &str = "envoy_cluster_upstream_rq_pending_overflow{";

fn sum(findings: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    findings["steps"].as_array().unwrap().iter().map(of).sum()
}

#[tokio::test]
async fn refusals_of_the_seed_breaker_are_the_proxys_own_count_and_its_upstream_never_sees_two_at_once() {
    let place = Place::open("20ms", |text| text).await;
    let (code, findings) = place.exercise("--callers 1,3,6 --step 1s --expect-limit 1").await;
    assert_eq!((code, &findings["held"]), (Some(0), &json!(true)), "{findings}");
    let refused = sum(&findings, |step| step["refused"]["UO"].as_u64().unwrap_or_default());
    assert!(refused > 100, "{findings}");
    assert_eq!(refused, place.counted(OVERFLOW).await, "{findings}");
    assert_eq!(findings["highest_at_once"], 1, "{findings}");
    assert_eq!(
        findings["opens_at_callers"], 3,
        "one is served and one waits: {findings}"
    );
    // Every request became one thing: served, refused, or an error that is named.
    for step in findings["steps"].as_array().unwrap() {
        let all = step["served"].as_u64().unwrap()
            + step["refused"]["UO"].as_u64().unwrap_or_default()
            + step["other_errors"].as_u64().unwrap()
            + step["failed"].as_u64().unwrap();
        assert_eq!(step["requests"], all, "{step}");
    }
    // Refusing costs far less than serving.
    let last = findings["steps"].as_array().unwrap().last().unwrap();
    let median = |of: &str| last[of]["p50"].as_f64().unwrap();
    assert!(median("refused_ms") < median("served_ms") / 2.0, "{last}");
}

#[tokio::test]
async fn a_limit_of_eight_connections_is_reached_and_never_passed() {
    let place = Place::open("20ms", |text| {
        text.replace("maxConnections: 1", "maxConnections: 8")
            .replace("        maxRequestsPerConnection: 1\n", "")
    })
    .await;
    let (code, findings) = place.exercise("--callers 4,8,16 --step 1s --expect-limit 8").await;
    assert_eq!((code, &findings["highest_at_once"]), (Some(0), &json!(8)), "{findings}");
    let (code, findings) = place.exercise("--callers 16 --step 500ms --expect-limit 9").await;
    assert_eq!(code, Some(3), "{findings}");
    assert!(
        findings["broken"].to_string().contains("never saw more than 8"),
        "{findings}"
    );
    let (code, findings) = place.exercise("--callers 16 --step 500ms --expect-limit 7").await;
    assert_eq!(code, Some(3), "{findings}");
    assert!(
        findings["broken"].to_string().contains("the upstream saw 8 at once"),
        "{findings}"
    );
}

#[tokio::test]
async fn ejections_are_told_with_their_times_and_recovery_is_measured() {
    let place = Place::open("5ms", |text| {
        text.replace("interval: 1s", "interval: 100ms")
            .replace("baseEjectionTime: 10s", "baseEjectionTime: 1s")
    })
    .await;
    ask(&place.ledger, "PUT", "/behaviour", r#"{"statuses": {"503": 1}}"#)
        .await
        .unwrap();
    let heal = async {
        eventually("an ejection", async || {
            let ejected = place.counted("envoy_cluster_outlier_detection_ejections_active{").await;
            (ejected > 0).then_some(())
        })
        .await;
        ask(&place.ledger, "PUT", "/behaviour", r#"{"latency": "5ms"}"#)
            .await
            .unwrap();
    };
    let ((code, findings), ()) = tokio::join!(place.exercise("--callers 1 --step 500ms --recovery 30s"), heal);
    assert_eq!(code, Some(0), "{findings}");
    let first = &findings["ejections"][0];
    assert!(
        first["ejected"] == 1 && first["at_s"].as_f64().unwrap() < 10.0,
        "{findings}"
    );
    assert!(findings["recovery_s"].as_f64().unwrap() > 0.0, "{findings}");
}

#[tokio::test]
#[ignore = "needs wrk; .ci/run names it"]
async fn wrk_counts_as_many_refusals_as_the_proxy() {
    let place = Place::open("20ms", |text| text).await;
    let before = place.counted(OVERFLOW).await;
    let url = format!("http://127.0.0.1:{}/", place.gateway);
    let output = Command::new("wrk")
        .args(["-t1", "-c3", "-d2s", &url])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let refused = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "))
        .unwrap_or("0");
    let refused: u64 = refused.parse().unwrap();
    let counted = place.counted(OVERFLOW).await - before;
    // wrk leaves with up to three requests in flight, which it does not count.
    assert!(
        refused > 100 && (refused..=refused + 3).contains(&counted),
        "wrk {refused}, the proxy {counted}"
    );
}
