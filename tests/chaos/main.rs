//! Processes are killed and rules are edited while a gateway and sidecars carry 500 requests a second: what fails was in flight
//! in a killed proxy, and nothing else.
//!
//! Processes of their own on loopback addresses. Not part of the default run, for its length; cargo test --test chaos.

mod load;
mod stage;

use load::Load;
use stage::{GATEWAY_AND_SIDECARS, Stage};
use tokio::time::Instant;
use weft_testkit::eventually;

/// Orders of three edits.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Waits until both ways in are answered by this version alone.
async fn all_from(stage: &Stage, version: &str) {
    for way in stage.ways() {
        eventually(&format!("all from {version} by {way:?}"), async || {
            for _ in 0..4 {
                if load::ask(&way).await.ok()? != version {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_control_plane_that_is_killed_and_restarted_costs_no_request() {
    let mut stage = Stage::start().await;
    let load = Load::start(&stage.ways());
    for (weights, version) in [("v1", "v1"), ("v2", "v2"), ("v1", "v1")] {
        stage.kill_control().await;
        load.some_more().await;
        stage.start_control().await;
        stage.rule(weights);
        all_from(&stage, version).await;
    }
    load.end().await.none_failed();
}

#[tokio::test]
async fn a_killed_sidecar_comes_back_from_its_state_and_costs_what_was_in_flight_in_it() {
    let mut stage = Stage::start().await;
    stage.rule("v2");
    all_from(&stage, "v2").await;
    stage.rule("both");
    eventually("v1 answers again", async || {
        (load::ask(&stage.ways()[0]).await.ok()? == "v1").then_some(())
    })
    .await;
    let load = Load::start(&stage.ways());
    load.some_more().await;
    stage.kill_control().await;
    let mut killed = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        stage.kill_sidecar("v2").await;
        killed.push((begun, Instant::now()));
        load.some_more().await;
        stage.start_sidecar("v2").await;
        load.until_v2().await;
    }
    let outcome = load.end().await;
    outcome.only_in_flight_failed(&killed);
    stage.start_control().await;
    stage.rule("v2");
    all_from(&stage, "v2").await;
}

#[tokio::test]
async fn a_killed_gateway_comes_back_from_its_state_and_costs_what_was_in_flight_in_it() {
    let mut stage = Stage::start().await;
    stage.rule("v2");
    all_from(&stage, "v2").await;
    // What is accepted is on disk a little later.
    eventually("the gateway has kept the rule", async || {
        stage.keeps("gateway", "v2").then_some(())
    })
    .await;
    let load = Load::start(&stage.ways());
    load.some_more().await;
    stage.kill_control().await;
    let mut killed = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        stage.kill_sidecar("gateway").await;
        // Nobody else listens there: until it is back, its callers are refused.
        stage.start_sidecar("gateway").await;
        killed.push((begun, Instant::now()));
        all_from(&stage, "v2").await;
        load.some_more().await;
    }
    load.end().await.only_in_flight_failed_by(stage.ways()[0], &killed);
    stage.start_control().await;
    stage.rule("v1");
    all_from(&stage, "v1").await;
}

#[tokio::test]
async fn edits_in_every_order_and_endpoints_that_come_and_go_cost_no_request() {
    let stage = Stage::start().await;
    let load = Load::start(&stage.ways());
    for order in ORDERS {
        // All that a canary needs, and then all of it away again, each time one file after the other.
        for edit in order {
            stage.canary(edit, true);
            load.some_more().await;
            load.note(|| format!("after {order:?} on {edit}"));
        }
        all_from(&stage, "v2").await;
        load.note(|| format!("once {order:?} is on"));
        for edit in order {
            stage.canary(edit, false);
            load.some_more().await;
            load.note(|| format!("after {order:?} off {edit}"));
        }
        all_from(&stage, "v1").await;
        load.note(|| format!("once {order:?} is off"));
    }
    stage.rule("both");
    load.until_v2().await;
    load.note(|| "once both versions answer".to_owned());
    for round in 0..5 {
        stage.pods(&["v1"]);
        all_from(&stage, "v1").await;
        stage.pods(&["v1", "v2"]);
        load.until_v2().await;
        load.note(|| format!("in round {round} of endpoints"));
    }
    load.end().await.none_failed();
}

#[tokio::test]
async fn a_corrupt_state_file_is_one_line_and_a_normal_start() {
    let mut stage = Stage::start().await;
    for damage in ["cut", "flipped", "emptied", "garbage"] {
        for name in GATEWAY_AND_SIDECARS {
            stage.kill_sidecar(name).await;
            stage.damage_state(name, damage);
            stage.start_sidecar(name).await;
            let named = stage.log_lines(name, "state");
            assert_eq!(named.len(), 1, "{damage} {name}: {named:#?}");
        }
        all_from(&stage, "v1").await;
    }
}
