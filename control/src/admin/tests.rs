//! What each path answers.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use tokio::sync::watch;

use super::Sources;
use super::answer::answer;
use crate::world::World;

#[test]
fn each_path_says_its_part_and_nothing_is_changed_here() {
    let (worlds, receiver) = watch::channel(Arc::new(World::default()));
    let sources = Sources {
        board: Arc::default(),
        metrics: Arc::default(),
        worlds: receiver,
    };
    let get = |path: &str| answer(&Method::GET, path, &sources);
    assert_eq!(
        get("/ready").status,
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing has been read yet"
    );
    worlds.send_replace(Arc::new(World {
        generation: 1,
        ..World::default()
    }));
    let cases = [
        ("/ready", 200, "ready"),
        ("/", 200, "/debug/objects"),
        ("/metrics", 200, "# TYPE pilot_xds gauge\npilot_xds 0\n"),
        ("/debug/objects", 200, "[]"),
        ("/debug/syncz", 200, "[]"),
        ("/debug", 404, "/debug/objects"),
    ];
    for (path, status, part) in cases {
        let answer = get(path);
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
    }
    assert_eq!(
        answer(&Method::POST, "/ready", &sources).status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}
