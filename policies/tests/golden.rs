//! What a user is told about mistakes: `data/bad/NAME.in.yaml` against `NAME.out.txt`.
//!
//! `WEFT_UPDATE_GOLDEN=1 cargo test -p weft-policies --test golden` rewrites the answers, whose differences are then read.

use std::path::Path;

use weft_policies::{Severity, read_all, yaml};

#[test]
fn every_mistake_is_told_with_its_place_and_its_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad");
    let update = std::env::var_os("WEFT_UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".in.yaml"))
        else {
            continue;
        };
        seen += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let (documents, mut findings) = yaml::parse(&format!("{name}.yaml"), &text);
        let (objects, more) = read_all(&documents);
        assert!(objects.is_empty(), "{name}: something wrong was taken: {objects:?}");
        findings.extend(more);
        assert!(findings.iter().any(|f| f.severity == Severity::Error), "{name}");
        let got: String = findings.iter().map(|f| format!("{f}\n")).collect();
        let answers = folder.join(format!("{name}.out.txt"));
        if update {
            std::fs::write(&answers, &got).unwrap();
        }
        if std::fs::read_to_string(&answers).unwrap_or_default() != got {
            wrong.push(format!("{name}:\n{got}"));
        }
    }
    assert!(seen >= 6, "only {seen} files found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
