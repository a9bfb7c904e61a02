//! Refusals on the wire: a text for people, and which resource was refused why for our own server.

use std::collections::BTreeMap;

use crate::ledger::Verdict;
use crate::pb::protobuf::{Struct, Value, value::Kind};
use crate::pb::rpc::Status;
use crate::{pack, unpack};

/// `INVALID_ARGUMENT` of gRPC.
const INVALID_ARGUMENT: i32 = 3;
/// Bytes of text in a refusal; the rest is cut off.
const TEXT_MAX: usize = 8 * 1024;

/// Why one resource was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Name of the resource.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The `error_detail` that names each refused resource; none if nothing was refused.
pub fn error_detail(rejections: &[Rejection]) -> Option<Status> {
    if rejections.is_empty() {
        return None;
    }
    let lines: Vec<String> = rejections
        .iter()
        .map(|one| format!("{}: {}", one.name, one.reason))
        .collect();
    let fields = rejections.iter().map(|one| {
        let reason = Kind::StringValue(cut(&one.reason).to_owned());
        (one.name.clone(), Value { kind: Some(reason) })
    });
    Some(Status {
        code: INVALID_ARGUMENT,
        message: cut(&lines.join("\n")).to_owned(),
        details: vec![pack(&Struct {
            fields: fields.collect(),
        })],
    })
}

/// Reads an `error_detail`. A client of another make says nothing about names, so all is refused.
pub fn verdict(error: Option<&Status>) -> Verdict {
    let Some(error) = error else {
        return Verdict::Ack;
    };
    let text = |value: Value| match value.kind {
        Some(Kind::StringValue(text)) => text,
        _ => String::new(),
    };
    let named = error.details.iter().find_map(|detail| unpack::<Struct>(detail).ok());
    match named {
        Some(named) if !named.fields.is_empty() => {
            let fields = named.fields.into_iter().map(|(name, value)| (name, text(value)));
            Verdict::Some(fields.collect::<BTreeMap<_, _>>())
        }
        _ => Verdict::Nack(cut(&error.message).to_owned()),
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or(text)
}
