use http::{HeaderMap, HeaderName, HeaderValue};

use super::format::{Format, FormatContext, FormatError};

/// Header operations of one level (table, virtual host, route or destination), as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderLevel {
    /// Headers that are taken out.
    pub remove: Vec<HeaderName>,
    /// Headers that are set or added, in order.
    pub ops: Vec<HeaderOp>,
}

/// One header that is set or added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderOp {
    /// The header.
    pub name: HeaderName,
    /// How.
    pub kind: HeaderOpKind,
    /// The operation is made even if the value turns out to be empty.
    pub keep_empty: bool,
    value: OpValue,
    text: Box<str>,
}

/// What happens to values that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderOpKind {
    /// They are replaced.
    Set,
    /// They are replaced; without any, nothing happens.
    SetIfPresent,
    /// They stay, a line is added.
    Add,
    /// If there are any, nothing happens.
    AddIfAbsent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum OpValue {
    Literal(HeaderValue),
    Format(Format),
}

/// An operation that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderOpsError {
    /// Not a header name.
    #[error("{0:?} is no header name")]
    Name(String),
    /// `:…` and `host` have rewrites of their own.
    #[error("{0:?} cannot be changed by a header operation")]
    Reserved(String),
    /// Not a header value.
    #[error("the value of {0} has characters that a header cannot carry")]
    Value(String),
    /// Not a format.
    #[error("the value of {name}: {source}")]
    Format {
        /// The header.
        name: String,
        /// The reason.
        source: FormatError,
    },
}

/// Operations of all levels, joined: first all removals, then what is set (the most specific level wins), then what is added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOps {
    remove: Box<[HeaderName]>,
    set: Box<[HeaderOp]>,
    add: Box<[HeaderOp]>,
    /// Some value depends on the request.
    dynamic: bool,
}

impl HeaderOp {
    /// An operation; the value may hold `%…%` operators.
    ///
    /// # Errors
    /// For names and values that no header can have, and formats that are not understood.
    pub fn new(name: &str, value: &str, kind: HeaderOpKind, keep_empty: bool) -> Result<Self, HeaderOpsError> {
        let name = op_name(name)?;
        let format = Format::new(value).map_err(|source| HeaderOpsError::Format {
            name: name.to_string(),
            source,
        })?;
        let value_error = |_| HeaderOpsError::Value(name.to_string());
        let compiled = match format.as_literal() {
            Some(text) => OpValue::Literal(HeaderValue::from_str(text).map_err(value_error)?),
            None => OpValue::Format(format),
        };
        Ok(Self {
            kind,
            keep_empty,
            value: compiled,
            text: value.into(),
            name,
        })
    }

    /// The value as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value for a request; `None` when it is empty and empty ones are left out.
    fn render(&self, context: &FormatContext<'_>) -> Option<HeaderValue> {
        let value = match &self.value {
            OpValue::Literal(value) => value.clone(),
            // What a client sent may hold bytes that no header can carry; such a header is not made.
            OpValue::Format(format) => HeaderValue::from_bytes(&format.render(context, "")).ok()?,
        };
        (self.keep_empty || !value.is_empty()).then_some(value)
    }

    fn perform(&self, value: HeaderValue, headers: &mut HeaderMap) {
        match self.kind {
            HeaderOpKind::Set => _ = headers.insert(&self.name, value),
            HeaderOpKind::SetIfPresent if headers.contains_key(&self.name) => {
                _ = headers.insert(&self.name, value);
            }
            HeaderOpKind::Add => _ = headers.append(&self.name, value),
            HeaderOpKind::AddIfAbsent if !headers.contains_key(&self.name) => {
                _ = headers.append(&self.name, value);
            }
            HeaderOpKind::SetIfPresent | HeaderOpKind::AddIfAbsent => {}
        }
    }
}

/// Checks the name of a header that is to be changed.
pub(super) fn op_name(name: &str) -> Result<HeaderName, HeaderOpsError> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(HeaderOpsError::Reserved(name.to_owned()));
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderOpsError::Name(name.to_owned()))
}

impl HeaderLevel {
    /// Adds a removal.
    ///
    /// # Errors
    /// For names that cannot be removed.
    pub fn remove(&mut self, name: &str) -> Result<(), HeaderOpsError> {
        self.remove.push(op_name(name)?);
        Ok(())
    }
}

impl HeaderOps {
    /// Joins levels, the least specific first.
    pub fn join<'a>(levels: impl IntoIterator<Item = &'a HeaderLevel>) -> Self {
        let (mut remove, mut set, mut add) = (Vec::new(), Vec::<HeaderOp>::new(), Vec::new());
        for level in levels {
            for name in &level.remove {
                if !remove.contains(name) {
                    remove.push(name.clone());
                }
            }
            for op in &level.ops {
                match op.kind {
                    HeaderOpKind::Set => {
                        set.retain(|earlier| earlier.name != op.name);
                        set.push(op.clone());
                    }
                    HeaderOpKind::SetIfPresent => set.push(op.clone()),
                    HeaderOpKind::Add | HeaderOpKind::AddIfAbsent => add.push(op.clone()),
                }
            }
        }
        let dynamic = set.iter().chain(&add).any(|op| matches!(op.value, OpValue::Format(_)));
        Self {
            remove: remove.into(),
            set: set.into(),
            add: add.into(),
            dynamic,
        }
    }

    /// Whether there is nothing to do.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// What is removed.
    pub fn removed(&self) -> &[HeaderName] {
        &self.remove
    }

    /// What is set, in order.
    pub fn set(&self) -> &[HeaderOp] {
        &self.set
    }

    /// What is added, in order.
    pub fn added(&self) -> &[HeaderOp] {
        &self.add
    }

    /// Changes the headers of a request. `%REQ(…)%` reads these headers, after removals and before anything is set.
    pub fn apply_to_request(&self, headers: &mut HeaderMap, context: &FormatContext<'_>) {
        self.remove_from(headers);
        if self.dynamic {
            let values: Vec<_> = {
                let context = FormatContext {
                    request: Some(headers),
                    ..*context
                };
                self.ops().map(|op| op.render(&context)).collect()
            };
            self.perform(values, headers);
        } else {
            self.perform(self.ops().map(|op| op.render(context)), headers);
        }
    }

    /// Changes the headers of a response. `%RESP(…)%` reads these headers, `%REQ(…)%` those of the context.
    pub fn apply_to_response(&self, headers: &mut HeaderMap, context: &FormatContext<'_>) {
        self.remove_from(headers);
        if self.dynamic {
            let values: Vec<_> = {
                let context = FormatContext {
                    response: Some(headers),
                    ..*context
                };
                self.ops().map(|op| op.render(&context)).collect()
            };
            self.perform(values, headers);
        } else {
            self.perform(self.ops().map(|op| op.render(context)), headers);
        }
    }

    fn ops(&self) -> impl Iterator<Item = &HeaderOp> {
        self.set.iter().chain(&self.add)
    }

    fn remove_from(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
    }

    fn perform(&self, values: impl IntoIterator<Item = Option<HeaderValue>>, headers: &mut HeaderMap) {
        for (op, value) in self.ops().zip(values) {
            if let Some(value) = value {
                op.perform(value, headers);
            }
        }
    }
}
