//! Documents of a file: one object each.

use std::sync::Arc;

use super::build::{Refused, build};
use super::split::split;
use super::{Entry, Node, Value};
use crate::codes;
use crate::finding::{Finding, ObjectRef, Severity};
use crate::object::Origin;

/// Size of one file. Ten thousand Services with their endpoints in one file stay well below.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Objects of one file, those inside of lists included.
pub const DOCUMENTS_MAX: usize = 200_000;

/// One Kubernetes object as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// File, and the line on which the object begins.
    pub origin: Origin,
    /// `apiVersion`; empty if there is none.
    pub api_version: String,
    /// `kind`; never empty.
    pub kind: String,
    /// `metadata.name`; empty if there is none.
    pub name: String,
    /// `metadata.namespace`; empty if there is none.
    pub namespace: String,
    /// The whole object.
    pub node: Node,
}

impl Document {
    /// Kind, namespace and name, as far as they are given.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// The part of `apiVersion` before `/`; empty for core kinds.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The part of `apiVersion` after `/`.
    pub fn version(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// An object that did not come from text, such as one of an API server. `None`: it has no `kind`.
    pub fn from_json(source: &str, json: &serde_json::Value) -> Option<Self> {
        document(&Arc::from(source), Node::from_json(json))
    }
}

/// Reads the documents of a file. A document that cannot be read becomes an error and costs no other.
pub fn parse(file: &str, text: &str) -> (Vec<Document>, Vec<Finding>) {
    parse_at(file, text, 1)
}

/// As `parse`, for bytes that may not be UTF-8.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> (Vec<Document>, Vec<Finding>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.split(|b| *b == b'\n').count().saturating_sub(1);
            let refused = Refused {
                line: u32::try_from(line).unwrap_or(u32::MAX),
                problem: "is not UTF-8 text".to_owned(),
                fix: "save the file as UTF-8",
            };
            (Vec::new(), vec![unreadable(&Arc::from(file), refused)])
        }
    }
}

/// As `parse`, for text that stands inside of another file: `first_line` is its first line there.
pub fn parse_at(file: &str, text: &str, first_line: u32) -> (Vec<Document>, Vec<Finding>) {
    let file: Arc<str> = Arc::from(file);
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        findings.push(unreadable(
            &file,
            Refused {
                line: 0,
                problem,
                fix: "split the file",
            },
        ));
        return (documents, findings);
    }
    for piece in split(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match build(piece.text, first_line + piece.line - 1) {
            Ok(None) => {}
            Ok(Some(node)) => flatten(&file, node, &mut documents, &mut findings),
            Err(refused) => findings.push(unreadable(&file, refused)),
        }
    }
    if documents.len() > DOCUMENTS_MAX {
        let problem = format!(
            "has {} objects, more than {DOCUMENTS_MAX}; the rest is left out",
            documents.len()
        );
        findings.push(unreadable(
            &file,
            Refused {
                line: 0,
                problem,
                fix: "split the file",
            },
        ));
        documents.truncate(DOCUMENTS_MAX);
    }
    (documents, findings)
}

/// Reads a text that is one value and no Kubernetes object, such as a scenario. An empty text is `Null`.
///
/// # Errors
/// When it is no YAML, or beyond a limit.
#[expect(clippy::result_large_err, reason = "read once per file; the caller boxes it")]
pub fn parse_value(file: &str, text: &str) -> Result<Node, Finding> {
    let file: Arc<str> = Arc::from(file);
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        return Err(unreadable(
            &file,
            Refused {
                line: 0,
                problem,
                fix: "split the file",
            },
        ));
    }
    match build(text.strip_prefix('\u{feff}').unwrap_or(text), 1) {
        Ok(node) => Ok(node.unwrap_or(Node {
            line: 1,
            value: Value::Null,
        })),
        Err(refused) => Err(unreadable(&file, refused)),
    }
}

/// Reads text that is one YAML value and no Kubernetes object, such as a setting inside of a ConfigMap.
pub(crate) fn parse_node(
    file: &str,
    text: &str,
    first_line: u32,
    object: &ObjectRef,
) -> Result<Option<Node>, Box<Finding>> {
    let node = build(text, first_line).map_err(|refused| {
        Box::new(Finding {
            object: object.clone(),
            ..unreadable(&Arc::from(file), refused)
        })
    })?;
    Ok(node.filter(|n| !matches!(n.value, Value::Null)))
}

/// A list is as good as its items.
fn flatten(file: &Arc<str>, node: Node, documents: &mut Vec<Document>, findings: &mut Vec<Finding>) {
    if matches!(node.value, Value::Null) {
        return;
    }
    let kind = node.get("kind").and_then(Node::as_str).unwrap_or_default().to_owned();
    let item_kind = kind.strip_suffix("List").filter(|_| {
        matches!(
            node.get("items"),
            Some(Node {
                value: Value::List(_),
                ..
            })
        )
    });
    let Some(item_kind) = item_kind else {
        let line = node.line;
        let Some(document) = document(file, node) else {
            let problem = "has no `kind`, so it is no Kubernetes object".to_owned();
            findings.push(unreadable(
                file,
                Refused {
                    line,
                    problem,
                    fix: "give `apiVersion` and `kind`",
                },
            ));
            return;
        };
        documents.push(document);
        return;
    };
    let api_version = node.get("apiVersion").cloned();
    for mut item in list_items(node) {
        // Items of a typed list need not repeat what the list says.
        if !item_kind.is_empty() && item.get("kind").is_none() {
            add(
                &mut item,
                "kind",
                Node {
                    line: 0,
                    value: Value::String(item_kind.to_owned()),
                },
            );
            if let (None, Some(version)) = (item.get("apiVersion"), &api_version) {
                add(&mut item, "apiVersion", version.clone());
            }
        }
        flatten(file, item, documents, findings);
    }
}

fn list_items(node: Node) -> Vec<Node> {
    let Value::Map(entries) = node.value else {
        return Vec::new();
    };
    match entries.into_iter().find(|e| e.key == "items").map(|e| e.node.value) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}

fn add(node: &mut Node, key: &str, value: Node) {
    let line = node.line;
    if let Value::Map(entries) = &mut node.value {
        entries.push(Entry {
            key: key.to_owned(),
            line,
            node: value,
        });
    }
}

fn document(file: &Arc<str>, node: Node) -> Option<Document> {
    let text = |node: Option<&Node>| node.and_then(Node::as_str).unwrap_or_default().to_owned();
    let kind = text(node.get("kind"));
    if kind.is_empty() {
        return None;
    }
    let metadata = node.get("metadata");
    Some(Document {
        origin: Origin {
            file: Arc::clone(file),
            line: node.line,
        },
        api_version: text(node.get("apiVersion")),
        kind,
        name: text(metadata.and_then(|m| m.get("name"))),
        namespace: text(metadata.and_then(|m| m.get("namespace"))),
        node,
    })
}

fn unreadable(file: &Arc<str>, refused: Refused) -> Finding {
    Finding {
        severity: Severity::Error,
        code: codes::UNREADABLE,
        object: ObjectRef::default(),
        origin: Origin {
            file: Arc::clone(file),
            line: refused.line,
        },
        path: String::new(),
        problem: refused.problem,
        fix: refused.fix.to_owned(),
    }
}
