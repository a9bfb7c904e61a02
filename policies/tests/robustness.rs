//! No text, however broken, makes the reader fail in any way but by findings.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use weft_policies::{ObjectRef, mesh, read_all, yaml};

/// Rounds per run; the sequence is the same each time.
const ROUNDS: u64 = 1500;

fn texts(folder: &Path, found: &mut Vec<String>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 33).unwrap()
}

#[test]
fn broken_text_yields_findings_and_never_a_panic() {
    let mut seeds = Vec::new();
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut seeds);
    let scraps = [
        "{",
        "}",
        "[",
        "]",
        ": ",
        "\n",
        "  ",
        "- ",
        "\"",
        "'",
        "é",
        "\\Q",
        "%",
        "*a",
        "&a ",
        "|\n",
        "---\n",
        "\t",
        "\0",
        "null",
        "-1",
        "0.5",
        "\u{10ffff}",
        "?",
        "!!str ",
    ];
    let mut state = 7;
    let rounds = std::env::var("WEFT_FUZZ_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(ROUNDS);
    for _ in 0..rounds {
        let mut text: Vec<char> = seeds[next(&mut state) % seeds.len()].chars().collect();
        for _ in 0..=next(&mut state) % 4 {
            let at = next(&mut state) % text.len();
            let cut = (next(&mut state) % 12).min(text.len() - at);
            let scrap = scraps[next(&mut state) % scraps.len()].chars();
            text.splice(at..at + cut, scrap);
            if text.is_empty() {
                text.push('a');
            }
        }
        let text: String = text.into_iter().collect();
        let (documents, findings) = yaml::parse("f.yaml", &text);
        let (objects, more) = read_all(&documents);
        assert!(objects.len() <= documents.len());
        for finding in findings.iter().chain(&more) {
            assert!(!finding.to_string().contains('\n'), "{finding}");
        }
        mesh::decode(&text, "f.yaml", 1, ObjectRef::default());
    }
}

#[test]
fn very_deep_text_is_refused_before_it_costs_anything() {
    for text in [
        "[".repeat(1 << 20),
        "- ".repeat(1 << 18),
        "a: {".repeat(1 << 18),
        "? ".repeat(1 << 16),
    ] {
        let (documents, findings) = yaml::parse("f.yaml", &text);
        assert!(documents.is_empty());
        assert_eq!(findings.len(), 1);
    }
}
