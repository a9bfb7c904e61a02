//! The product page in a real browser: three looks of the stars, as the rules say.
//!
//! Not part of the default run, since it needs Chromium. It fails without, it never skips.

#[allow(dead_code, reason = "the demo's own suite asks more of it")]
#[path = "../demo/run.rs"]
mod run;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run::{Demo, rules};

/// How long a page may take, in the browser's own time.
const PAGE_MS: &str = "--virtual-time-budget=5000";
/// After that the browser itself is ended, in seconds.
const BROWSER_SECONDS: &str = "60";

/// A browser with a memory of its own.
struct Browser {
    memory: tempfile::TempDir,
}

impl Browser {
    fn new() -> Self {
        Self {
            memory: tempfile::tempdir().expect("a folder"),
        }
    }

    fn run(&self, what: &str, url: &str) -> String {
        let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let output = Command::new("timeout")
            .args([BROWSER_SECONDS, &browser, "--headless", "--no-sandbox", "--disable-gpu"])
            .args([
                "--disable-background-networking",
                "--window-size=1100,820",
                PAGE_MS,
                what,
            ])
            .arg(format!("--user-data-dir={}", self.memory.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .output()
            .expect("there is `timeout`, it belongs to every system");
        let said = String::from_utf8_lossy(&output.stderr);
        let missing = matches!(output.status.code(), Some(125..=127));
        assert!(
            !missing,
            "this suite needs Chromium: install `chromium` or set CHROMIUM"
        );
        assert!(output.status.success(), "{browser} failed: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The page as the browser has built it; and a picture of it, for people.
    fn page(&self, url: &str, name: &str) -> String {
        let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        self.run(&format!("--screenshot={}", picture.display()), url);
        assert!(
            std::fs::metadata(&picture).is_ok_and(|file| file.len() > 10_000),
            "{}",
            picture.display()
        );
        self.run("--dump-dom", url)
    }
}

fn check(page: &str, pod: &str, stars: Option<&str>) {
    assert!(page.contains("data-failed=\"\""), "{page}");
    assert!(page.contains(&format!("data-pod=\"{pod}\"")), "{pod}: {page}");
    let looks = [("black", "class=\"stars black\""), ("red", "class=\"stars red\"")];
    for (color, look) in looks {
        let wanted = if stars == Some(color) { 2 } else { 0 };
        assert_eq!(page.matches(look).count(), wanted, "{pod}: {color} stars in {page}");
    }
    // Five of five, and four of five.
    let shown = if stars.is_some() { 9 } else { 0 };
    assert_eq!(page.matches("<svg class=\"on\"").count(), shown, "{pod}");
}

/// A page that signs in by itself, as a person would by the form.
fn sign_in(folder: &Path, port: u16, user: &str) -> String {
    let form = format!(
        "<form id=f method=post action=http://127.0.0.1:{port}/login><input name=username value={user}></form>\
         <script>document.getElementById('f').submit()</script>"
    );
    let path = folder.join("sign-in.html");
    std::fs::write(&path, form).expect("it can be written");
    format!("file://{}", path.display())
}

#[test]
fn the_stars_look_as_the_rules_say() {
    Browser::new().run("--dump-dom", "about:blank");
    let (folder, port) = rules();
    let mut demo = Demo::start(folder.path(), &[]);
    demo.until("It stays up");
    let page = format!("http://127.0.0.1:{port}/productpage");

    let jason = Browser::new();
    let signed_in = jason.run("--dump-dom", &sign_in(folder.path(), port, "jason"));
    assert!(signed_in.contains("signed in as <b>jason</b>"), "{signed_in}");
    check(&signed_in, "reviews-v2", Some("black"));
    let anybody = Browser::new();
    assert!(!anybody.page(&page, "somebody").contains("data-pod=\"reviews-v2\""));

    let rule = include_str!("../../examples/bookinfo/rules/reviews-v1.yaml");
    for (subset, stars) in [("v2", Some("black")), ("v3", Some("red")), ("v1", None)] {
        let edited = rule.replace("subset: v1", &format!("subset: {subset}"));
        std::fs::write(folder.path().join("reviews-v1.yaml"), edited).unwrap();
        demo.until("reviews-v1.yaml: live");
        let shown = anybody.page(&page, subset);
        check(&shown, &format!("reviews-{subset}"), stars);
    }
}
