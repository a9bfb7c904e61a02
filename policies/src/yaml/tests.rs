//! Files as users write them, and as they break them.

use serde_json::json;

use super::*;

fn names(text: &str) -> (Vec<String>, Vec<String>) {
    let (documents, findings) = parse("f.yaml", text);
    let documents = documents
        .iter()
        .map(|d| format!("{} {} @{}", d.kind, d.name, d.origin.line))
        .collect();
    (documents, findings.iter().map(ToString::to_string).collect())
}

#[test]
fn one_broken_document_costs_no_other() {
    let text =
        "kind: A\nmetadata: {name: one}\n---\nkind: B\nmetadata: {name: [two\n---\nkind: C\nmetadata:\n  name: three\n";
    let (documents, findings) = names(text);
    assert_eq!(documents, ["A one @1", "C three @7"]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with("error[WFT0016] document (f.yaml:"),
        "{findings:?}"
    );
}

#[test]
fn lists_are_as_good_as_their_items() {
    let json = r#"{"kind": "List", "apiVersion": "v1", "items": [
	{"kind": "Service", "metadata": {"name": "a"}},
	{"kind": "ServiceList", "apiVersion": "v1", "items": [{"metadata": {"name": "b"}}]}
]}"#;
    let (documents, findings) = parse("f.json", json);
    assert_eq!(findings, []);
    let got: Vec<_> = documents
        .iter()
        .map(|d| (&*d.kind, &*d.api_version, &*d.name, d.origin.line))
        .collect();
    assert_eq!(got, [("Service", "", "a", 2), ("Service", "v1", "b", 3)]);
}

#[test]
fn anchors_aliases_and_merges_are_read() {
    let text = "kind: A\nbase: &b {x: 1, y: 2}\nfull:\n  <<: *b\n  y: 3\nsame: *b\n80: on\n";
    let (documents, findings) = parse("f.yaml", text);
    assert_eq!(findings, []);
    let expected =
        json!({"kind": "A", "base": {"x": 1, "y": 2}, "full": {"y": 3, "x": 1}, "same": {"x": 1, "y": 2}, "80": true});
    assert_eq!(documents[0].node.to_json(), expected);
}

#[test]
fn every_limit_refuses_the_document_alone() {
    let mut laughs = String::from("kind: A\na: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("b{level}: &a{level} [{aliases}]\n");
    }
    let deep = format!(
        "kind: A\na: {}{}\n",
        "[".repeat(DEPTH_MAX + 1),
        "]".repeat(DEPTH_MAX + 1)
    );
    let wide = format!(
        "kind: A\n{}",
        (0..=MAPPING_ENTRIES_MAX)
            .map(|n| format!("k{n}: 1\n"))
            .collect::<String>()
    );
    let cases = [
        (laughs, "by aliases"),
        (deep, "nested deeper than 64 levels"),
        (wide, "more than 4096 keys"),
        (
            "kind: A\na: 1\na: 2\n".to_owned(),
            "has the key `a` twice; keep one of them",
        ),
        ("kind: A\na: &x [*x]\n".to_owned(), ""),
        ("kind: A\n? [a]\n: 1\n".to_owned(), "keys must be plain text"),
        ("a: 1\n".to_owned(), "has no `kind`"),
        ("just text\n".to_owned(), "has no `kind`"),
        ("kind: A\n\tb: 1\n".to_owned(), "is not YAML"),
    ];
    for (text, expected) in cases {
        let (documents, findings) = names(&format!("{text}---\nkind: Good\nmetadata: {{name: good}}\n"));
        assert_eq!(documents.len(), 1, "{expected}: {documents:?}");
        assert!(documents[0].starts_with("Good good"), "{documents:?}");
        assert!(
            findings.len() == 1 && findings[0].contains(expected),
            "{expected}: {findings:?}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_line() {
    let (documents, findings) = parse_bytes("f.yaml", b"kind: A\nname: \xff\n");
    assert!(documents.is_empty());
    assert_eq!(
        findings[0].to_string(),
        "error[WFT0016] document (f.yaml:2): is not UTF-8 text; save the file as UTF-8"
    );
}

#[test]
fn a_document_that_was_not_written_whole_is_named_and_is_not_an_empty_one() {
    for (text, line) in [("\0\0\0\0", 1), ("kind: A\n---\nkind: B\nna\0\0\0", 4)] {
        let (_, findings) = parse("f.yaml", text);
        let wanted = format!("document (f.yaml:{line}): has a NUL byte");
        assert!(
            findings.len() == 1 && findings[0].to_string().contains(&wanted),
            "{findings:?}"
        );
    }
}

#[test]
fn empty_files_and_empty_documents_say_nothing() {
    for text in ["", "\n", "---\n---\n", "# remark\n", "\u{feff}---\n", "null\n", "...\n"] {
        assert_eq!(names(text), (vec![], vec![]), "{text:?}");
    }
}

#[test]
fn lines_count_from_where_the_text_stands_in_its_file() {
    let (documents, findings) = parse_at("s.yaml", "kind: A\n---\n\nkind: B\nx: {\n", 10);
    assert_eq!(documents[0].origin.line, 10);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].origin.line >= 13, "{}", findings[0]);
}
