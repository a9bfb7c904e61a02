//! in → out: a node and what is expected of it → a value, findings with line and path.
//! owns: unknown fields, wrong types, numbers, durations, enumerations; all findings, never only the first.
//! may not touch: the meaning of any one field.

mod duration;
mod field;
mod fields;
mod suggest;

pub(crate) use duration::Span;
pub(crate) use field::{Check, Field, Problem, Sink};
pub(crate) use fields::Fields;
pub(crate) use suggest::nearest;
