//! Simulated calls over what the stages really make: each scenario states what has to become of its calls.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use weft_sim::{Scenario, simulate};

/// Keys whose lists are sets.
const SETS: [&str; 4] = ["endpoints", "retry_on", "retry_codes", "remove"];
/// Percentages of thirds are written with four digits.
const CLOSE: f64 = 0.001;

#[test]
fn every_call_becomes_what_its_scenario_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut wrong = Vec::new();
    let mut calls = 0;
    for entry in fs::read_dir(folder).expect("the scenarios stand beside this file") {
        let path = entry.expect("a readable folder").path();
        let (name, text) = (
            path.display().to_string(),
            fs::read_to_string(&path).expect("a readable scenario"),
        );
        let scenario = Scenario::read(&name, &text).unwrap_or_else(|e| panic!("{e}"));
        let report = simulate(&name, &scenario).unwrap_or_else(|e| panic!("{e}"));
        let refused = report.findings.iter().find(|finding| !finding.starts_with("warning["));
        assert!(refused.is_none(), "{name}: {refused:?}");
        assert_eq!(report.calls.len(), scenario.calls.len(), "{name}");
        for (call, found) in scenario.calls.iter().zip(&report.calls) {
            calls += 1;
            let expected = call
                .expect
                .as_ref()
                .unwrap_or_else(|| panic!("{name}: {:?} expects nothing", call.name));
            let result = serde_json::to_value(&found.result).expect("an answer is JSON");
            let mut bad = Vec::new();
            compare("", expected, &result, &mut bad);
            if !bad.is_empty() {
                wrong.push(format!(
                    "{}: {}: {}\n    why: {:?}",
                    scenario.name,
                    call.name,
                    bad.join("; "),
                    found.why
                ));
            }
            assert!(!found.why.is_empty(), "{name}: {:?} is not explained", call.name);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {calls} calls:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(calls > 50, "only {calls} calls were found");
}

/// Whether everything that is expected is there. `{}` and `[]` ask for nothing to be there.
fn compare(path: &str, expected: &Value, found: &Value, bad: &mut Vec<String>) {
    let mut differs = || bad.push(format!("{path}: want {expected}, got {found}"));
    match (expected, found) {
        (Value::Object(want), Value::Object(have)) if want.is_empty() => {
            let empty = |value: &Value| {
                value.as_object().is_some_and(|o| o.is_empty()) || value.as_array().is_some_and(Vec::is_empty)
            };
            if !have.values().all(empty) {
                differs();
            }
        }
        (Value::Object(want), Value::Object(have)) => {
            for (key, value) in want {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                if key == "absent" {
                    let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                    let there = |name: &str| {
                        [&found["set"][name], &found["add"][name]]
                            .iter()
                            .any(|one| !one.is_null())
                    };
                    bad.extend(names.filter(|name| there(name)).map(|name| format!("{below}: {name}")));
                    continue;
                }
                compare(&below, value, have.get(key).unwrap_or(&Value::Null), bad);
            }
        }
        (Value::Array(want), Value::Array(have)) if SETS.contains(&path.rsplit('.').next().unwrap_or_default()) => {
            if texts(want) != texts(have) {
                differs();
            }
        }
        (Value::Array(want), Value::Array(have)) if path == "weights" => {
            let (want, have) = (shares(want), shares(have));
            let alike =
                want.keys().eq(have.keys()) && want.iter().all(|(key, share)| (share - have[key]).abs() < CLOSE);
            if !alike {
                differs();
            }
        }
        (want, have) if want == have => {}
        (Value::Number(want), Value::Number(have)) if want.as_f64() == have.as_f64() => {}
        _ => differs(),
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    let mut texts: Vec<_> = values
        .iter()
        .map(|value| value.to_string().trim_matches('"').to_owned())
        .collect();
    texts.sort();
    texts
}

fn shares(weights: &[Value]) -> BTreeMap<String, f64> {
    let key = |weight: &Value| format!("{} {} {}", weight["host"], weight["port"], weight["subset"]);
    weights
        .iter()
        .map(|weight| (key(weight), weight["weight"].as_f64().unwrap_or_default()))
        .collect()
}

#[test]
fn a_result_is_whole_and_nothing_in_a_scenario_is_overlooked() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/changes.yaml"))
        .expect("readable");
    let report = simulate("changes", &Scenario::read("changes", &text).expect("a scenario")).expect("a report");
    let json: Value = serde_json::from_str(&weft_sim::json(&[report]).expect("JSON")).expect("JSON");
    let routed = &json["calls"][0]["result"];
    for key in [
        "rewrite",
        "timeout",
        "retries",
        "fault",
        "mirror",
        "request_headers",
        "response_headers",
        "policy",
    ] {
        assert!(routed.get(key).is_some(), "{key} is missing in {routed}");
    }
    for key in [
        "load_balancer",
        "max_connections",
        "connect_timeout",
        "tls",
        "sni",
        "hash",
    ] {
        assert!(
            routed["policy"].get(key).is_some(),
            "policy.{key} is missing in {routed}"
        );
    }
    let cases = [
        ("calls:", "surprise: 1\ncalls:", "surprise"),
        ("proxy: door", "proxy: nobody", "nobody"),
        ("direction: gateway", "direction: sideways", "sideways"),
        (
            "name: \"redirect\"",
            "name: \"path and authority are rewritten\"",
            "two calls",
        ),
        ("config: |", "config: [", "YAML"),
    ];
    for (from, to, named) in cases {
        let error = Scenario::read("x.yaml", &text.replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(error.contains(named) && error.starts_with("x.yaml"), "{to}: {error}");
    }
}
