//! The laws of the layout (docs/STYLE.md, "Layout"), checked over `cargo metadata` and the files themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// One row of the dependency law: a package, which of ours it may name, and what it must not reach by any way.
struct Row {
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const ALL: &[&str] = &[
    "weft-bookinfo",
    "weft-control",
    "weft-loadtest",
    "weft-policies",
    "weft-proxy",
    "weft-proxy-core",
    "weft-sim",
    "weft-testkit",
    "weft-xds",
];

const LAW: &[Row] = &[
    Row {
        package: "weft",
        ours: ALL,
        never: &["weft-testkit"],
    },
    Row {
        package: "weft-bookinfo",
        ours: &[],
        never: &["weft-proxy-core", "weft-policies", "weft-xds", "prost", "tonic"],
    },
    Row {
        package: "weft-proxy-core",
        ours: &[],
        never: &[
            "tokio",
            "hyper",
            "rustls",
            "prost",
            "tonic",
            "kube",
            "weft-xds",
            "weft-policies",
        ],
    },
    Row {
        package: "weft-proxy",
        ours: &["weft-proxy-core", "weft-xds"],
        never: &["kube", "k8s-openapi", "weft-policies", "weft-control", "weft-testkit"],
    },
    Row {
        package: "weft-xds",
        ours: &[],
        never: &["kube", "k8s-openapi", "weft-policies", "weft-proxy", "weft-control"],
    },
    Row {
        package: "weft-control",
        ours: &["weft-policies", "weft-xds"],
        never: &["weft-proxy", "weft-proxy-core", "weft-sim", "weft-testkit"],
    },
    Row {
        package: "weft-loadtest",
        ours: &[],
        never: &["weft-proxy-core", "weft-policies", "weft-xds", "tonic", "kube"],
    },
    Row {
        package: "weft-policies",
        ours: &[],
        never: &["tokio", "prost", "tonic", "hyper", "kube", "weft-xds"],
    },
    Row {
        package: "weft-sim",
        ours: ALL,
        never: &["weft-testkit"],
    },
    Row {
        package: "weft-testkit",
        ours: ALL,
        never: &[],
    },
];

/// The only packages of ours that may name these.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("kube", &["weft", "weft-control", "weft-injector"]),
    ("k8s-openapi", &["weft-control", "weft-injector"]),
    (
        "rustls",
        &["weft-proxy", "weft-control", "weft-injector", "weft-loadtest"],
    ),
    (
        "prost",
        &["weft-xds", "weft-control", "weft-proxy", "weft-sim", "weft-loadtest"],
    ),
    ("envoy-types", &["weft-xds"]),
    (
        "hyper",
        &[
            "weft-bookinfo",
            "weft-proxy",
            "weft-control",
            "weft-injector",
            "weft-loadtest",
        ],
    ),
];

/// Words that name no meaning, so no room or file is called so.
const NOT_A_ROOM: &[&str] = &[
    "common", "util", "utils", "helpers", "types", "prelude", "model", "inbound", "outbound",
];

const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above this package")
        .to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform=host-tuple",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs, it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Packages of the workspace, by name, with their manifest entry.
fn members(metadata: &Value) -> BTreeMap<&str, &Value> {
    let ids: BTreeSet<_> = list(metadata, "workspace_members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let packages = list(metadata, "packages")
        .iter()
        .filter(|p| ids.contains(text(p, "id")));
    packages.map(|p| (text(p, "name"), p)).collect()
}

/// Everything that `package` links or runs at build time, by name, without what only its tests use.
fn reached(metadata: &Value, package: &Value) -> BTreeSet<String> {
    let names: BTreeMap<_, _> = list(metadata, "packages")
        .iter()
        .map(|p| (text(p, "id"), text(p, "name")))
        .collect();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"], "nodes")
        .iter()
        .map(|n| (text(n, "id"), n))
        .collect();
    let (mut found, mut more) = (BTreeSet::new(), vec![text(package, "id")]);
    while let Some(id) = more.pop() {
        for dep in nodes.get(id).map(|n| list(n, "deps")).unwrap_or_default() {
            let shipped = list(dep, "dep_kinds").iter().any(|kind| kind["kind"] != "dev");
            if shipped && found.insert(names[text(dep, "pkg")].to_owned()) {
                more.push(text(dep, "pkg"));
            }
        }
    }
    found
}

#[test]
fn packages_depend_on_each_other_as_the_law_allows() {
    let metadata = metadata();
    let mut broken = Vec::new();
    for (name, package) in members(&metadata) {
        let Some(row) = LAW.iter().find(|row| row.package == name) else {
            broken.push(format!("{name} has no row in the law"));
            continue;
        };
        for dep in list(package, "dependencies") {
            let (to, test) = (text(dep, "name"), dep["kind"] == "dev");
            let ours = to.starts_with("weft");
            if ours && !row.ours.contains(&to) && !(test && to == "weft-testkit") {
                broken.push(format!("{name} may not depend on {to}"));
            }
            let wrapper = WRAPPERS.iter().find(|(crate_name, _)| *crate_name == to);
            if let Some((_, allowed)) = wrapper
                && !test
                && !allowed.contains(&name)
            {
                broken.push(format!("{name} may not pull {to}; only {allowed:?} may"));
            }
        }
        let reached = reached(&metadata, package);
        for never in row.never {
            if reached.contains(*never) {
                broken.push(format!("{name} reaches {never}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn rust_files() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the workspace is readable") {
            let path = entry.expect("an entry of the workspace is readable").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The path within the workspace, for a message and for matching.
fn within(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn files_stay_small_and_rooms_are_named_after_what_they_own() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let (text, name) = (std::fs::read_to_string(&path).expect("source is UTF-8"), within(&path));
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{name} has {lines} lines, more than {FILE_LINES_MAX}"));
        }
        if let Some(word) = NOT_A_ROOM
            .iter()
            .find(|word| name.split(['/', '.']).any(|part| part == **word))
        {
            broken.push(format!("{name}: '{word}' names no meaning"));
        }
        let logic = |line: &str| {
            ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "impl "]
                .iter()
                .any(|w| line.starts_with(w))
        };
        if name.ends_with("/mod.rs")
            && !name.contains("/tests/")
            && let Some(at) = text.lines().position(logic)
        {
            broken.push(format!("{name}:{}: a mod.rs holds no logic", at + 1));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn foreign_types_stay_in_their_rooms() {
    // A crate's path, and the places that may write it.
    let rooms: [(&str, &[&str]); 3] = [
        ("envoy_types::", &["xds/src/"]),
        (
            "k8s_openapi::",
            &["control/src/watch/", "control/src/world/", "control/src/status/"],
        ),
        (
            "hyper::",
            &[
                "examples/bookinfo/src/",
                "loadtest/src/breaker/",
                "loadtest/src/serve/",
                "loadtest/tests/",
                "proxy/src/",
                "control/src/admin/",
                "control/src/telemetry/",
            ],
        ),
    ];
    let mut broken = Vec::new();
    for path in rust_files() {
        let (text, name) = (std::fs::read_to_string(&path).expect("source is UTF-8"), within(&path));
        for (crate_path, allowed) in rooms {
            let used = text
                .lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(crate_path));
            if used && !name.ends_with("tests/law.rs") && !allowed.iter().any(|room| name.starts_with(room)) {
                broken.push(format!("{name} names {crate_path}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_invariant_names_tests_that_there_are() {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the architecture is written down");
    let sources: String = rust_files()
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("source is UTF-8"))
        .collect();
    let mut broken = Vec::new();
    let mut invariants = 0;
    for line in text.lines().filter(|line| line.contains("**Invariant**")) {
        invariants += 1;
        // Several sentences may each name theirs.
        let (_, named) = line.split_once(": ").unwrap_or_default();
        let tests: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            broken.push(format!("names no test: {line}"));
        }
        let missing = tests.iter().filter(|test| !sources.contains(&format!("fn {test}()")));
        broken.extend(missing.map(|test| format!("there is no test {test}")));
    }
    assert!(invariants > 0, "the page has no invariants");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
