//! in → out: a test → the same test in another process, which has network, mount and process namespaces of its own.
//! owns: what has to be installed, the way in, the end of everything that was started inside.
//! may not touch: what is tested.

use std::path::PathBuf;
use std::process::Command;

/// Set in the inner process.
const INSIDE: &str = "WEFT_TEST_INSIDE";
/// Seconds that a whole test may take, far beyond what a loaded machine needs.
const LIMIT_S: &str = "240";

/// What the tests start, beside the Python below.
const PROGRAMS: [&str; 11] = [
    "curl",
    "ip",
    "mariadb",
    "mariadb-install-db",
    "mariadbd",
    "nft",
    "nsenter",
    "redis-cli",
    "redis-server",
    "setpriv",
    "unshare",
];

/// A Python that has grpcio and websockets.
pub(crate) const PYTHON: &str = "WEFT_CLIENTS_PYTHON";

/// Runs `test` in namespaces of its own, where it may add addresses, bind any port and redirect packets.
///
/// # Panics
/// As the test does, and with one line where something that it needs is missing: asked for and unable has failed.
pub(crate) fn inside<F: AsyncFnOnce()>(test: F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(test());
    }
    let missing = missing();
    assert!(
        missing.is_empty(),
        "missing: {}; eval \"$(bench/setup.sh ci)\" installs what these tests start",
        missing.join(", ")
    );
    let name = name_of(&test);
    let exe = std::env::current_exe().expect("a test knows its program");
    let output = Command::new("timeout")
        .args(["--kill-after=5", LIMIT_S, "unshare"])
        .args(way_in())
        .arg(exe)
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("RUST_BACKTRACE", "0")
        .env("PATH", path())
        .output()
        .expect("unshare starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // A name that is wrong would run nothing, and pass.
    let passed = output.status.success() && out.contains("1 passed");
    assert!(passed, "{name} inside: {}\n{out}\n{err}", output.status);
}

/// Flags of `unshare`: root needs no user namespace; others get one with all the users that the system grants them, since the
/// proxy is told from the application by its user.
fn way_in() -> Vec<&'static str> {
    let mut flags = vec!["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        flags.extend(["--user", "--map-root-user", "--map-auto"]);
    }
    flags
}

/// Administrators' programs are not in everybody's path.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

fn missing() -> Vec<&'static str> {
    let path = path();
    let there = |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let mut missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !there(program)).collect();
    if !std::env::var_os(PYTHON).is_some_and(|python| PathBuf::from(python).is_file()) {
        missing.push("a Python with grpcio and websockets (WEFT_CLIENTS_PYTHON)");
    }
    if !rustix::process::geteuid().is_root() && !there(&"newuidmap") {
        missing.push("newuidmap");
    }
    missing
}

/// The name by which libtest knows the test that this closure belongs to.
fn name_of<F>(_: &F) -> String {
    let full = std::any::type_name::<F>();
    let test = full.split("::{{closure}}").next().unwrap_or(full);
    test.split_once("::").map_or(test, |(_, rest)| rest).to_owned()
}
