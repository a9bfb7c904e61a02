//! A demo as a process, seen from outside.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::time::Instant;
use weft_testkit::eventually::DEADLINE;

/// A running demo; it is killed when this is dropped, and its children go with it.
pub(crate) struct Demo {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Demo {
    /// Starts the demo with its rules in `rules`, its gateway on a free port.
    pub(crate) fn start(rules: &Path, more: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(["demo", "--dir"])
            .arg(rules)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = child.expect("weft can be started");
        let out = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, out }
    }

    /// Reads lines up to the first that begins with `start`; all of them.
    pub(crate) fn until(&mut self, start: &str) -> String {
        let mut said = String::new();
        loop {
            let before = said.len();
            let read = self.out.read_line(&mut said).expect("the demo writes text");
            assert!(read > 0, "the demo ended before it said {start:?}: {said}");
            if said[before..].starts_with(start) {
                return said;
            }
        }
    }

    /// The rest of what it says, and how it ended.
    pub(crate) fn end(&mut self) -> (String, ExitStatus) {
        let mut said = String::new();
        self.out.read_to_string(&mut said).expect("the demo writes text");
        (said, self.child.wait().expect("it can be waited for"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self::signal(self.child.id(), signal);
    }

    /// Its child processes with their command lines.
    pub(crate) fn children(&self) -> Vec<(u32, String)> {
        let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| parent(*pid) == Some(self.child.id()))
            .map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                (pid, String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .collect()
    }
}

impl Drop for Demo {
    /// Also waits for its children: the next demo wants the same addresses.
    fn drop(&mut self) {
        let children = self.children();
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        let deadline = Instant::now() + DEADLINE;
        let left: Vec<_> = children.iter().filter(|(pid, _)| !ends_by(*pid, deadline)).collect();
        if !left.is_empty() {
            eprintln!("children of the demo outlive it by {DEADLINE:?}: {left:?}");
        }
    }
}

/// Waits for the end of a process, not beyond `deadline`.
fn ends_by(pid: u32, deadline: Instant) -> bool {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let Ok(handle) = pidfd_open(id, PidfdFlags::empty()) else {
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("a time that can be waited for");
    // It can be read from when the process has ended.
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)).is_ok_and(|ready| ready > 0)
}

/// The parent of a process that has not ended.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_gone = matches!(fields.next(), Some("Z" | "X"));
    (!is_gone).then(|| fields.next()?.parse().ok()).flatten()
}

pub(crate) fn is_there(pid: u32) -> bool {
    parent(pid).is_some()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// A folder of rules like that of the repository, with a port that is free; and that port.
pub(crate) fn rules() -> (tempfile::TempDir, u16) {
    let folder = tempfile::tempdir().expect("a folder");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("it has an address").port();
    let gateway = include_str!("../../examples/bookinfo/rules/gateway.yaml");
    let gateway = gateway.replace("number: 8080", &format!("number: {port}"));
    fs::write(folder.path().join("gateway.yaml"), gateway).expect("it can be written");
    (folder, port)
}
