//! Header operations.

use std::collections::BTreeMap;

use crate::codes;
use crate::decode::{Field, Fields};
use crate::validate::{self, HeaderSide};

/// `headers` of a rule or of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Headers {
    /// On the request, before it is forwarded.
    pub request: HeaderOperations,
    /// On the response, before it goes to the client.
    pub response: HeaderOperations,
}

impl Headers {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// What is done to headers: removals first, then `set`, then `add`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HeaderOperations {
    /// Overwrites or creates. Values may hold `%COMMAND%` operators.
    pub set: BTreeMap<String, String>,
    /// Appends another value. Values may hold `%COMMAND%` operators.
    pub add: BTreeMap<String, String>,
    /// Deletes.
    pub remove: Vec<String>,
}

impl HeaderOperations {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl Headers {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mut side = |name, side| {
            fields
                .field(name)
                .and_then(|f| HeaderOperations::read(&f, side))
                .unwrap_or_default()
        };
        let headers = Self {
            request: side("request", HeaderSide::Request),
            response: side("response", HeaderSide::Response),
        };
        fields.finish();
        Some(headers)
    }

    /// The `headers` block of a rule or destination, with what old YAML says beside it.
    pub(super) fn read_with_old(fields: &mut Fields<'_>) -> Self {
        let mut headers = fields.field("headers").and_then(|f| Self::read(&f)).unwrap_or_default();
        for (old, new, side) in [
            ("appendHeaders", "headers.request.add", HeaderSide::Request),
            ("appendRequestHeaders", "headers.request.add", HeaderSide::Request),
            ("appendResponseHeaders", "headers.response.add", HeaderSide::Response),
        ] {
            if let Some(field) = fields.old(old) {
                let operations = headers.side(side);
                for (name, value) in read_values(&field, side) {
                    operations.add.entry(name).or_insert(value);
                }
                translated(&field, new);
            }
        }
        for (old, new, side) in [
            ("removeRequestHeaders", "headers.request.remove", HeaderSide::Request),
            ("removeResponseHeaders", "headers.response.remove", HeaderSide::Response),
        ] {
            if let Some(field) = fields.old(old) {
                headers.side(side).remove.extend(read_names(&field));
                translated(&field, new);
            }
        }
        headers
    }

    fn side(&mut self, side: HeaderSide) -> &mut HeaderOperations {
        match side {
            HeaderSide::Request => &mut self.request,
            HeaderSide::Response => &mut self.response,
        }
    }

    /// How often the request's authority is set.
    pub(super) fn authorities(&self) -> usize {
        let names = self.request.set.keys().chain(self.request.add.keys());
        names
            .filter(|n| n.eq_ignore_ascii_case("host") || n.eq_ignore_ascii_case(":authority"))
            .count()
    }
}

fn translated(field: &Field<'_>, new: &str) {
    field.warn(
        codes::OLD_FIELD,
        format!("is a field of old Istio, taken as `{new}`"),
        format!("write `{new}`"),
    );
}

impl HeaderOperations {
    fn read(field: &Field<'_>, side: HeaderSide) -> Option<Self> {
        let mut fields = field.fields()?;
        let operations = Self {
            set: fields.field("set").map(|f| read_values(&f, side)).unwrap_or_default(),
            add: fields.field("add").map(|f| read_values(&f, side)).unwrap_or_default(),
            remove: fields.field("remove").map(|f| read_names(&f)).unwrap_or_default(),
        };
        fields.finish();
        Some(operations)
    }
}

fn read_values(field: &Field<'_>, side: HeaderSide) -> BTreeMap<String, String> {
    let read = |(name, field): (&str, Field<'_>)| {
        field.check(validate::settable_name(name, side))?;
        let value = field.text()?;
        field.check(validate::header_value(value))?;
        if let Some(operator) = validate::operator_unknown(value) {
            field.warn(
                codes::NO_EFFECT,
                format!("holds `%{operator}%`, which weft does not evaluate"),
                format!("use one of {}", validate::KNOWN_OPERATORS.join(", ")),
            );
        }
        Some((name.to_owned(), value.to_owned()))
    };
    field.entries().into_iter().filter_map(read).collect()
}

fn read_names(field: &Field<'_>) -> Vec<String> {
    let read = |field: &Field<'_>| {
        let name = field.text()?;
        if name.eq_ignore_ascii_case("host") || name.starts_with(':') {
            field.error(format!("is `{name}`"), "the host and pseudo headers cannot be removed");
            return None;
        }
        field.check(validate::header_name(name)).map(|()| name.to_owned())
    };
    field.items().iter().filter_map(read).collect()
}
