//! Who is to blame when a step fails: every process is asked, and those that do not answer are named.

use futures_util::future::join_all;

use super::admin::is_ready;
use super::stage::{Process, Stage};

/// What is wrong with processes, one line each; none if all of them answer.
pub(super) async fn silent(stage: &Stage) -> Vec<String> {
    let asked = stage.processes.iter().map(|process| async move {
        let answers = is_ready(process.address, process.ready).await;
        (!answers).then(|| describe(process))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn describe(process: &Process) -> String {
    let name = &process.name;
    let Some(pid) = process.state.pid() else {
        return format!("{name} does not run: {}", process.last_line());
    };
    match is_stopped(pid) {
        true => format!("{name} (process {pid}) is stopped"),
        false => format!("{name} (process {pid}) does not answer"),
    }
}

/// Whether a signal has stopped the process: the state behind its name in `/proc/PID/stat`.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't'))
}
