use weft_proxy_core::route::{HeaderLevel, HeaderOp, HeaderOpKind};
use weft_xds::pb;

use super::error::{At, Outcome, Problem, invalid};

/// Header operations of a level, for both ways.
pub(super) struct Levels {
    pub(super) request: HeaderLevel,
    pub(super) response: HeaderLevel,
}

/// The [`Levels`] of a message: tables, virtual hosts, routes and weighted clusters have fields of the same names.
macro_rules! levels {
    ($source:expr) => {
        $crate::xds::translate::headers::Levels {
            request: $crate::xds::translate::headers::level(
                &$source.request_headers_to_add,
                &$source.request_headers_to_remove,
                "request_headers",
            )?,
            response: $crate::xds::translate::headers::level(
                &$source.response_headers_to_add,
                &$source.response_headers_to_remove,
                "response_headers",
            )?,
        }
    };
}
pub(super) use levels;

/// Header operations of one way.
pub(super) fn level(add: &[pb::core::HeaderValueOption], remove: &[String], field: &str) -> Outcome<HeaderLevel> {
    let mut level = HeaderLevel::default();
    for (index, name) in remove.iter().enumerate() {
        level.remove(name).at_index(&format!("{field}_to_remove"), index)?;
    }
    for (index, option) in add.iter().enumerate() {
        level.ops.push(op(option).at_index(&format!("{field}_to_add"), index)?);
    }
    Ok(level)
}

fn op(option: &pb::core::HeaderValueOption) -> Outcome<HeaderOp> {
    use pb::core::header_value_option::HeaderAppendAction as Action;
    let header = option.header.as_ref().ok_or(Problem::Missing).at("header")?;
    let kind = match (&option.append, Action::try_from(option.append_action)) {
        // The older field, where it is given: add or replace.
        (Some(append), _) if append.value => HeaderOpKind::Add,
        (Some(_), _) => HeaderOpKind::Set,
        (None, Ok(Action::AppendIfExistsOrAdd)) => HeaderOpKind::Add,
        (None, Ok(Action::AddIfAbsent)) => HeaderOpKind::AddIfAbsent,
        (None, Ok(Action::OverwriteIfExistsOrAdd)) => HeaderOpKind::Set,
        (None, Ok(Action::OverwriteIfExists)) => HeaderOpKind::SetIfPresent,
        (None, Err(_)) => return Err(invalid(option.append_action, "an append action")).at("append_action"),
    };
    let raw;
    let value = if header.raw_value.is_empty() {
        header.value.as_str()
    } else {
        raw = std::str::from_utf8(&header.raw_value)
            .map_err(|_| invalid("raw_value", "text"))
            .at("header")?;
        raw
    };
    Ok(HeaderOp::new(&header.key, value, kind, option.keep_empty_value)?)
}
