//! Parser events → a tree, under limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::scalar::resolve;
use super::{Entry, Node, Value};

/// Nesting of lists and mappings. Istio's own kinds reach 9; every step down costs stack when a tree is dropped.
pub const DEPTH_MAX: usize = 64;
/// Nodes of one document. A Kubernetes list of some ten thousand objects stays below.
pub const DOCUMENT_NODES_MAX: usize = 2_000_000;
/// Nodes that aliases may add to one document: enough for shared blocks, far too few for a "billion laughs".
pub const ALIASED_NODES_MAX: usize = 20_000;

/// Entries of one mapping. Keys are compared one by one, so this bounds the work as well.
pub const MAPPING_ENTRIES_MAX: usize = 4096;

/// Why a document could not be built.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) line: u32,
    pub(super) problem: String,
    pub(super) fix: &'static str,
}

/// Builds the first document of `text`, whose first line has number `first_line`. `None`: there is no content.
pub(super) fn build(text: &str, first_line: u32) -> Result<Option<Node>, Refused> {
    let mut builder = Builder {
        first_line,
        ..Builder::default()
    };
    // The parser takes NUL for the end of the text. A file that was not written whole is full of them after a crash.
    if let Some(before) = text.split('\0').next().filter(|before| before.len() < text.len()) {
        return Err(Refused {
            line: builder.line(1 + before.matches('\n').count()),
            problem: "has a NUL byte, so it was not written whole or is not text".to_owned(),
            fix: "write the file again",
        });
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Refused {
            line: builder.line(error.marker().line()),
            problem: format!("is not YAML: {}", error.info()),
            fix: "correct the syntax; the other documents of the file are not affected",
        })?;
        builder.event(event, span.start.line())?;
    }
    Ok(builder.root)
}

#[derive(Default)]
struct Builder {
    first_line: u32,
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    aliased: usize,
}

/// A list or mapping that has begun and not ended.
struct Open {
    line: u32,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, u32)>,
        merge: Vec<Node>,
    },
}

impl Builder {
    /// The parser counts from 1 within its own text.
    fn line(&self, line: usize) -> u32 {
        self.first_line + u32::try_from(line.saturating_sub(1)).unwrap_or(u32::MAX / 2)
    }

    fn refuse<T>(&self, line: u32, problem: String, fix: &'static str) -> Result<T, Refused> {
        Err(Refused { line, problem, fix })
    }

    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), Refused> {
        let line = self.line(line);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                // A key keeps its text, whatever it would mean as a value: `80:` and `on:` are names here.
                if let Some(Open {
                    items: Items::Map { key: key @ None, .. },
                    ..
                }) = self.open.last_mut()
                {
                    *key = Some((text.into_owned(), line));
                    return Ok(());
                }
                self.finish(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.start(line, anchor, Items::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.start(
                line,
                anchor,
                Items::Map {
                    entries: Vec::new(),
                    key: None,
                    merge: Vec::new(),
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn start(&mut self, line: u32, anchor: usize, items: Items) -> Result<(), Refused> {
        if self.open.len() >= DEPTH_MAX {
            return self.refuse(line, format!("is nested deeper than {DEPTH_MAX} levels"), "");
        }
        if matches!(
            self.open.last(),
            Some(Open {
                items: Items::Map { key: None, .. },
                ..
            })
        ) {
            return self.refuse(
                line,
                "has a list or mapping as a key".to_owned(),
                "keys must be plain text",
            );
        }
        self.open.push(Open { line, anchor, items });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refused> {
        let Some(Open { line, anchor, items }) = self.open.pop() else {
            return Ok(());
        };
        let value = match items {
            Items::List(items) => Value::List(items),
            Items::Map { mut entries, merge, .. } => {
                for source in merge {
                    merge_into(&mut entries, source);
                }
                Value::Map(entries)
            }
        };
        self.finish(Node { line, value }, anchor)
    }

    fn alias(&mut self, anchor: usize, line: u32) -> Result<(), Refused> {
        let Some(node) = self.anchors.get(&anchor) else {
            return self.refuse(
                line,
                "names an anchor that is not complete here".to_owned(),
                "define it first",
            );
        };
        self.aliased += size(node);
        if self.aliased > ALIASED_NODES_MAX {
            return self.refuse(
                line,
                format!("adds more than {ALIASED_NODES_MAX} values by aliases"),
                "write the values out, or in several documents",
            );
        }
        let node = Node { line, ..node.clone() };
        self.finish(node, 0)
    }

    /// A complete node goes to where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Refused> {
        self.nodes += 1;
        if self.nodes > DOCUMENT_NODES_MAX {
            return self.refuse(
                node.line,
                format!("has more than {DOCUMENT_NODES_MAX} values"),
                "split the document",
            );
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            // A copy is kept, so that an anchor costs as much as an alias.
            self.aliased += size(&node);
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, key, merge }) => {
                let Some((key, line)) = key.take() else {
                    return self.refuse(node.line, "has an alias as a key".to_owned(), "keys must be plain text");
                };
                if key == "<<" && matches!(node.value, Value::Map(_) | Value::List(_)) {
                    merge.push(node);
                } else if entries.len() >= MAPPING_ENTRIES_MAX {
                    let problem = format!("has more than {MAPPING_ENTRIES_MAX} keys in one mapping");
                    return self.refuse(line, problem, "split the mapping");
                } else if entries.iter().any(|e| e.key == key) {
                    return self.refuse(line, format!("has the key `{key}` twice"), "keep one of them");
                } else {
                    entries.push(Entry { key, line, node });
                }
            }
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_string = tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
    if style == ScalarStyle::Plain && !is_string {
        resolve(text)
    } else {
        Value::String(text.to_owned())
    }
}

/// YAML 1.1 merge: what the mapping says itself comes before what it merges.
fn merge_into(entries: &mut Vec<Entry>, source: Node) {
    match source.value {
        Value::Map(more) => {
            for entry in more {
                if entries.iter().all(|e| e.key != entry.key) {
                    entries.push(entry);
                }
            }
        }
        Value::List(sources) => sources.into_iter().for_each(|s| merge_into(entries, s)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|e| size(&e.node)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0usize,
    }
}
