//! Objects in, resources out: `golden/NAME.in.yaml` beside `golden/NAME.out.txt`.
//!
//! The first line of an input names the node that asks: `# node: router~10.0.0.9~gw-0.edge~edge.svc.cluster.local`; the
//! second may state its metadata: `# metadata: {"INTERCEPTION_MODE": "NONE"}`.
//! `WEFT_UPDATE_GOLDEN=1 cargo test -p weft-control --test golden` writes the outputs anew; read their difference.

mod outline;

use std::path::{Path, PathBuf};

use weft_control::generate::resources;
use weft_control::scope::Scope;
use weft_control::world;

#[test]
fn objects_become_the_resources_that_are_written_down() {
    let mut wrong = Vec::new();
    let inputs = inputs();
    assert!(!inputs.is_empty());
    for input in inputs {
        let expected = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.txt"));
        let text = std::fs::read_to_string(&input).unwrap();
        let outline = outline_of(&text);
        if std::env::var_os("WEFT_UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &outline).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != outline {
            wrong.push(format!("{}:\n{outline}", expected.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "differs from what is written down:\n{}",
        wrong.join("\n")
    );
}

fn inputs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder is readable").path());
    let mut inputs: Vec<_> = files
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    inputs.sort();
    inputs
}

fn outline_of(text: &str) -> String {
    let node = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# node: "))
        .expect("the first line names a node");
    let (world, findings) = world::load([("in.yaml", text)]);
    let read: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let metadata = text
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix("# metadata: "))
        .map(|line| serde_json::from_str(line).expect("metadata is JSON"))
        .unwrap_or_else(|| serde_json::json!({}));
    let scope = Scope::from_parts(node, &metadata, &world).expect("the first line is a node id");
    outline::of(&resources(&world, &scope)) + &read
}
