//! What the board tells about objects and proxies as they change.

use weft_policies::{Finding, ObjectRef, Origin, Severity};
use weft_xds::TypeUrl;

use super::{Board, State};
use crate::watch::events_of;
use crate::world::Writer;

const NODE: &str = "router~127.0.0.1~gw.edge~edge.svc.cluster.local";

fn service(port: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: {port}}}]}}\n")
}

/// Reads a file into writer and board; returns the number of the world.
fn read(writer: &mut Writer, board: &Board, text: &str) -> u64 {
    let verdicts = writer.apply(events_of([("a.yaml", text)]));
    let world = writer.publish().expect("a reset always answers").generation;
    board.record(verdicts, world);
    world
}

fn note(problem: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        code: "IST0101",
        object: ObjectRef {
            kind: "Service".to_owned(),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        },
        origin: Origin {
            file: "a.yaml".into(),
            line: 1,
        },
        path: String::new(),
        problem: problem.to_owned(),
        fix: String::new(),
    }
}

#[test]
fn an_object_is_live_where_its_world_has_been_acknowledged() {
    let (mut writer, board) = (Writer::default(), Board::default());
    board.connected(NODE);
    let first = read(&mut writer, &board, &service("80"));
    assert_eq!(board.objects()[0].pending_on, [NODE]);
    board.synced(NODE, first);
    assert_eq!(board.objects()[0].live_on, [NODE]);
    let second = read(&mut writer, &board, &service("81"));
    assert_eq!(
        board.objects()[0].pending_on,
        [NODE],
        "the new generation is not there yet"
    );
    board.synced(NODE, second);
    assert_eq!(board.objects()[0].live_on, [NODE]);
    // A change of something else leaves it live where it was.
    read(
        &mut writer,
        &board,
        &format!(
            "{}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: x}}\n",
            service("81")
        ),
    );
    let web = board
        .objects()
        .into_iter()
        .find(|object| object.object == "Service/default/web")
        .unwrap();
    assert_eq!(web.live_on, [NODE]);
}

#[test]
fn a_refused_object_shows_what_is_in_force_and_why() {
    let (mut writer, board) = (Writer::default(), Board::default());
    read(&mut writer, &board, &service("eighty"));
    let never = &board.objects()[0];
    assert_eq!(
        (never.state, never.in_force.as_deref(), never.findings.len()),
        (State::Refused, None, 1)
    );
    read(&mut writer, &board, &service("80"));
    let good = board.objects()[0].clone();
    assert_eq!((good.state, good.findings.len()), (State::Accepted, 0));
    read(&mut writer, &board, &service("eighty"));
    let kept = &board.objects()[0];
    assert_eq!((kept.state, &kept.in_force), (State::LastGood, &Some(good.generation)));
    assert_eq!(kept.origin.as_deref(), Some("a.yaml:1"));
    read(&mut writer, &board, "");
    assert!(board.objects().is_empty());
}

#[test]
fn notes_of_plans_stand_with_their_object_once_and_go_with_their_node() {
    let (mut writer, board) = (Writer::default(), Board::default());
    read(&mut writer, &board, &service("80"));
    for node in ["a", "b"] {
        board.connected(node);
        board.note(node, &[note("no subset"), note("no subset")]);
    }
    let problems = |board: &Board| {
        board.objects()[0]
            .findings
            .iter()
            .map(|f| f.problem.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(&board), ["no subset"]);
    board.note("a", &[]);
    assert_eq!(problems(&board), ["no subset"]);
    board.disconnected("b");
    assert_eq!(problems(&board), [""; 0]);
}

#[test]
fn a_refusal_by_a_proxy_is_visible_until_it_accepts_again() {
    let board = Board::default();
    board.connected(NODE);
    board.refused(NODE, TypeUrl::Listener, "0.0.0.0_80: permission denied");
    let proxy = &board.proxies()[0];
    assert_eq!((proxy.synced, proxy.refused[0].kind), (false, "LDS"));
    assert_eq!(board.summary().refusals, 1);
    board.accepted(NODE, TypeUrl::Listener);
    assert!(board.proxies()[0].refused.is_empty());
}

#[test]
fn a_proxy_that_reconnects_before_its_old_stream_ends_stays() {
    let board = Board::default();
    board.connected(NODE);
    board.connected(NODE);
    board.disconnected(NODE);
    assert_eq!(board.proxies().len(), 1);
    board.disconnected(NODE);
    assert_eq!(board.proxies().len(), 0);
}
