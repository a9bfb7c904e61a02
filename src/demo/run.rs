//! From the start to the end: stage, play, stay.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use weft_loadtest::print;

use super::book::{Book, Follow, rules_folder};
use super::report::{Output, Report};
use super::stage::{Stage, check_addresses, control_admin};
use super::view::View;
use super::{live, rules, steps};

/// Between two looks at the rule files.
const LOOK: Duration = Duration::from_millis(150);
/// Rules that are in force from the start.
const AT_FIRST: [&str; 3] = ["gateway.yaml", "subsets.yaml", "reviews-v1.yaml"];

/// What the reader has settled.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) once: bool,
    pub(crate) output: Output,
    pub(crate) rules: Option<PathBuf>,
}

/// What a step needs.
pub(super) struct Play {
    pub(super) stage: Stage,
    pub(super) book: RefCell<Book>,
    pub(super) view: View,
    pub(super) way_in: SocketAddr,
}

/// How it ended.
enum End {
    Played(bool),
    Interrupted,
}

/// Plays, and stays until SIGINT or SIGTERM unless told otherwise.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(anyhow::Error::new)
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run_until_signalled(settings)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weft demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_until_signalled(settings: Settings) -> Result<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let work = tempfile::Builder::new()
        .prefix("weft-demo-")
        .tempdir()
        .context("no folder to work in")?;
    let rules = rules_folder(settings.rules.clone(), work.path().join("rules"));
    let mut book = Book::open(rules, work.path().join("config"))?;
    for file in AT_FIRST {
        book.apply(file)?;
    }
    let (name, gateway) = book.current("gateway.yaml").context("there is no gateway.yaml")?;
    let way_in = rules::way_in(&rules::objects(name, gateway)?)?;
    check_addresses(way_in)?;
    let stage = Stage::start(book.in_force(), work.path())?;
    let view = View::new(settings.output);
    let play = Play {
        stage,
        book: RefCell::new(book),
        view,
        way_in,
    };
    // Cancel safe: what is dropped here is dropped for good; the processes are stopped below, whichever comes first.
    let ended = tokio::select! {
        ended = whole(&play, &settings) => ended,
        _ = interrupt.recv() => Ok(End::Interrupted),
        _ = terminate.recv() => Ok(End::Interrupted),
    };
    if matches!(ended, Ok(End::Interrupted)) {
        view.say("stopping");
    }
    play.stage.stop().await;
    match ended? {
        End::Played(held) => Ok(held),
        // Who stays is meant to be interrupted; a play that was broken off has shown nothing.
        End::Interrupted => Ok(!settings.once),
    }
}

async fn whole(play: &Play, settings: &Settings) -> Result<End> {
    let (view, rules) = (play.view, play.book.borrow().rules().display().to_string());
    let proxies = play.stage.proxies().count();
    view.say(&format!(
        "weft demo: Bookinfo in {} processes on loopback addresses: a control plane, a gateway, {} sidecars, {} applications",
        play.stage.processes.len(),
        proxies - 1,
        weft_bookinfo::pods::PODS.len(),
    ));
    view.say(&format!("rules: {rules}"));
    play.stage.ready(&view).await?;
    view.say(&format!("ready: {proxies} proxies have their configuration and listen"));
    let steps = {
        // Files that the reader saves are followed beside the play.
        let following = follow(play, Follow::InForce);
        let playing = steps::play(play);
        tokio::select! {
            steps = playing => steps,
            broken = following => return Err(broken),
        }
    };
    let held = steps.iter().all(|step| step.held);
    let report = Report {
        held,
        steps,
        addresses: addresses(play),
    };
    if settings.output == Output::Json {
        print::out(&format!("{}\n", serde_json::to_string_pretty(&report)?)).map_err(anyhow::Error::msg)?;
    }
    let failed: Vec<&str> = report
        .steps
        .iter()
        .filter(|step| !step.held)
        .map(|step| step.name)
        .collect();
    view.say("");
    view.say(&match held {
        true => "every step held".to_owned(),
        false => format!("did not hold: {}", failed.join("; ")),
    });
    if settings.once {
        return Ok(End::Played(held));
    }
    play.book.borrow_mut().know_all()?;
    invite(play);
    Err(follow(play, Follow::All).await)
}

/// Where everything is, for programs.
fn addresses(play: &Play) -> Value {
    let admin: serde_json::Map<String, Value> = play
        .stage
        .processes
        .iter()
        .filter(|process| process.is_proxy)
        .map(|process| (process.name.clone(), json!(format!("http://{}", process.address))))
        .collect();
    json!({
        "product_page": page(play),
        "control_plane": format!("http://{}", control_admin()),
        "admin": admin,
        "metrics_path": "/stats/prometheus",
        "rules": play.book.borrow().rules(),
    })
}

fn page(play: &Play) -> String {
    format!("http://{}/productpage", play.way_in)
}

fn invite(play: &Play) {
    let view = play.view;
    let rules = play.book.borrow().rules().display().to_string();
    view.say("");
    view.say("It stays up until Ctrl-C.");
    view.say(&format!(
        "  product page   {}   (sign in as jason for black stars)",
        page(play)
    ));
    view.say(&format!(
        "  rule files     {rules}   (a file that you save is applied at once)"
    ));
    view.say(&format!(
        "  control plane  http://{}   /debug/objects, /debug/syncz, /metrics",
        control_admin()
    ));
    view.say("  admin ports    /clusters, /config_dump, and metrics at /stats/prometheus:");
    for process in play.stage.proxies() {
        let pid = process.state.pid().unwrap_or_default();
        view.say(&format!(
            "    {:<24} http://{}   process {pid}",
            process.name, process.address
        ));
    }
}

/// Applies what the reader saves; ends only if the folder cannot be read any more.
async fn follow(play: &Play, which: Follow) -> anyhow::Error {
    loop {
        tokio::time::sleep(LOOK).await;
        let applied = match play.book.borrow_mut().follow(which) {
            Ok(applied) => applied,
            Err(error) => return error,
        };
        for file in applied {
            let text = play
                .book
                .borrow()
                .current(&file)
                .map(|(_, text)| text.to_owned())
                .unwrap_or_default();
            match live::applied(&file, &text, play.stage.proxies().count()).await {
                Ok(took) => play
                    .view
                    .say(&format!("{file}: live on every proxy after {} ms", took.as_millis())),
                Err(error) => play.view.say(&format!("{file}: {error:#}")),
            }
        }
    }
}
