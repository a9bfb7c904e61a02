//! The whole demo, as a reader starts it: what it shows, what it says when something is wrong, what it leaves behind.
//!
//! Not part of the default run, since its addresses are fixed: a demo that runs on the same machine would be in the way.

mod run;

use run::{Demo, is_there, rules, signal};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use weft_testkit::eventually;

/// One demo at a time.
static STAGE: Mutex<()> = Mutex::const_new(());

async fn stage() -> MutexGuard<'static, ()> {
    STAGE.lock().await
}

#[tokio::test]
async fn every_step_holds_and_an_edited_rule_is_what_is_expected() {
    let _stage = stage().await;
    let (folder, _) = rules();
    let canary = include_str!("../../examples/bookinfo/rules/reviews-50-50.yaml");
    let edited = canary
        .replacen("weight: 50", "weight: 80", 1)
        .replacen("weight: 50", "weight: 20", 1);
    std::fs::write(folder.path().join("reviews-50-50.yaml"), edited).unwrap();
    let (said, status) = Demo::start(folder.path(), &["--once", "--output", "json"]).end();
    let report: Value = serde_json::from_str(&said).unwrap();
    assert!(status.success(), "{report:#}");
    let after = &report["steps"][0]["figures"]["after"];
    assert_eq!(after["rule_percent"], serde_json::json!({ "v1": 80.0, "v3": 20.0 }));
    assert_eq!(
        (&after["visits"], &after["failed"]),
        (&Value::from(1000), &Value::from(0))
    );
    let observed = after["observed_percent"]["v1"].as_f64().unwrap();
    assert!((79.0..=81.0).contains(&observed), "{after}");
    let breaker = &report["steps"][2]["figures"];
    assert_eq!(breaker["statuses"]["503"], breaker["overflow_of_the_proxy"]);
}

#[tokio::test]
async fn a_stopped_sidecar_fails_the_step_by_name() {
    let _stage = stage().await;
    let (folder, _) = rules();
    let mut demo = Demo::start(folder.path(), &["--once"]);
    demo.until("ready");
    let children = demo.children();
    let proxies = children.iter().filter(|(_, line)| line.contains(" proxy "));
    assert!(proxies.count() >= 7, "{children:?}");
    let (stopped, _) = children
        .iter()
        .find(|(_, line)| line.contains("~details-v1.") && line.contains(" proxy "))
        .unwrap();
    signal(*stopped, Signal::STOP);
    let (said, status) = demo.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("FAILED: ") && said.contains(&format!("sidecar details-v1 (process {stopped}) is stopped")),
        "{said}"
    );
    let left: Vec<_> = children.iter().filter(|(pid, _)| is_there(*pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn nothing_outlives_the_demo() {
    let _stage = stage().await;
    for ended_by in [Signal::KILL, Signal::TERM, Signal::INT] {
        let (folder, _) = rules();
        let mut demo = Demo::start(folder.path(), &[]);
        demo.until("ready");
        let children = demo.children();
        assert!(children.len() >= 16, "{children:?}");
        signal(children[3].0, Signal::STOP);
        demo.signal(ended_by);
        let _ended = demo.end();
        let all_gone = async || children.iter().all(|(pid, _)| !is_there(*pid)).then_some(());
        eventually("no process is left", all_gone).await;
    }
}

#[tokio::test]
async fn the_load_tester_breaks_the_breaker_and_all_sides_count_alike() {
    let _stage = stage().await;
    let (folder, _) = rules();
    let mut demo = Demo::start(folder.path(), &[]);
    demo.until("  rule files");
    let breaker = include_str!("../../examples/bookinfo/rules/details-breaker.yaml");
    std::fs::write(folder.path().join("details-breaker.yaml"), breaker).unwrap();
    demo.until("details-breaker.yaml: live on every proxy");
    weft("load http://127.10.1.30:9080/admin/knobs?delay_ms=20 --method POST --rate 1 --duration 1s");
    let exercise = undisturbed(
        "load breaker http://127.10.0.20:15080/details/0 --host details:9080 --cluster outbound|9080||details. \
         --metrics http://127.10.0.20:15000/stats/prometheus --ledger http://127.10.1.30:9080/admin \
         --expect-limit 1 --callers 1,2,3,8 --step 1s --output json",
    );
    let findings: Value = serde_json::from_slice(&exercise.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&exercise.stderr)));
    assert!(exercise.status.success(), "{findings:#}");
    assert_eq!(findings["highest_at_once"], 1, "by the application's own count");
    for step in findings["steps"].as_array().unwrap() {
        let reasons = step["refused"].as_object().unwrap();
        let refused: u64 = reasons.values().filter_map(Value::as_u64).sum();
        assert_eq!(step["proxies_overflow"], refused, "{step:#}");
        // One is answered, one waits; whoever comes third is refused.
        assert!(refused > 0 || step["callers"].as_u64() <= Some(2), "{step:#}");
    }
}

/// Runs again while other work of the machine kept the load tester from its work, which it says itself.
fn undisturbed(line: &str) -> std::process::Output {
    let mut output = weft(line);
    for _ in 0..20 {
        if output.status.code() != Some(8) {
            break;
        }
        output = weft(line);
    }
    output
}

fn weft(line: &str) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(line.split_whitespace())
        .output()
        .expect("weft can be started")
}

#[tokio::test]
async fn a_second_demo_says_that_there_is_one() {
    let _stage = stage().await;
    let (folder, _) = rules();
    let mut first = Demo::start(folder.path(), &[]);
    first.until("ready");
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(["demo", "--once", "--dir"])
        .arg(rules().0.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        said.lines().count() == 1 && said.contains("does another demo run?"),
        "{said}"
    );
}
