//! The programs under test, and what they leave behind.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs that may be disturbed one after another.
const ATTEMPTS_MAX: usize = 20;

/// `weft-load` with arguments that are divided by spaces.
pub(crate) fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-load"));
    command
        .args(line.split_whitespace())
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// What a run has ended with.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The result of `--output json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs to its end.
pub(crate) async fn load(line: &str) -> Ended {
    finish(start(line)).await
}

/// Runs again while other work of the machine kept the generator from its schedule, which it says itself.
pub(crate) async fn undisturbed(line: &str) -> Ended {
    let mut ended = load(line).await;
    for _ in 0..ATTEMPTS_MAX {
        if ended.code != 8 {
            break;
        }
        ended = load(line).await;
    }
    ended
}

/// Starts a run.
pub(crate) fn start(line: &str) -> Child {
    command(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end.
pub(crate) async fn finish(child: Child) -> Ended {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A scripted upstream.
pub(crate) struct Upstream {
    _child: Child,
    pub(crate) address: String,
    pub(crate) admin: String,
}

impl Upstream {
    /// Starts `serve` with further flags.
    pub(crate) async fn start(flags: &str) -> Self {
        let mut child = command("serve --listen 127.0.0.1:0")
            .args(flags.split('|').filter(|flag| !flag.is_empty()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let rest = line.strip_prefix("serving on ").unwrap();
        let (address, admin) = rest.split_once(", admin on http://").unwrap();
        Self {
            _child: child,
            address: address.to_owned(),
            admin: admin.to_owned(),
        }
    }

    pub(crate) async fn ledger(&self) -> Value {
        serde_json::from_str(&ask(&self.admin, "GET", "/ledger", "").await).unwrap()
    }

    /// Changes what it does.
    pub(crate) async fn behave(&self, behaviour: &Value) -> String {
        ask(&self.admin, "PUT", "/behaviour", &behaviour.to_string()).await
    }

    /// Resolves once it has seen a request.
    pub(crate) async fn busy(&self) {
        tokio::time::timeout(LIMIT, async {
            while self.ledger().await["requests"]["total"] == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

/// The body of an answer.
pub(crate) async fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
