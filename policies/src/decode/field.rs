//! One value, where it stands, and what can be read from it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{Fields, Span, duration, nearest};
use crate::codes;
use crate::finding::{Finding, ObjectRef, Severity};
use crate::object::Origin;
use crate::percent::Percent;
use crate::yaml::{Node, Value};

/// What is wrong with a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) problem: String,
    pub(crate) fix: String,
}

impl Problem {
    pub(crate) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

/// The outcome of a check on a value.
pub(crate) type Check<T = ()> = Result<T, Problem>;

/// Collects the findings of one object. Shared by all of its fields, hence the cell.
#[derive(Debug)]
pub(crate) struct Sink {
    object: ObjectRef,
    file: Arc<str>,
    findings: RefCell<Vec<Finding>>,
}

/// Findings kept per object: a list of a thousand equal mistakes is told well enough by the first hundred.
const FINDINGS_MAX: usize = 100;

impl Sink {
    pub(crate) fn new(object: ObjectRef, file: Arc<str>) -> Self {
        let object = ObjectRef {
            kind: one_line(&object.kind),
            namespace: one_line(&object.namespace),
            name: one_line(&object.name),
        };
        Self {
            object,
            file,
            findings: RefCell::default(),
        }
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.borrow().iter().any(Finding::is_error)
    }

    fn push(&self, severity: Severity, code: &'static str, line: u32, path: &str, problem: Problem) {
        let mut findings = self.findings.borrow_mut();
        // An error is never lost to a flood of warnings: it is what refuses the object.
        if findings.len() >= FINDINGS_MAX && (severity < Severity::Error || findings.iter().any(Finding::is_error)) {
            return;
        }
        findings.push(Finding {
            severity,
            code,
            object: self.object.clone(),
            origin: Origin {
                file: Arc::clone(&self.file),
                line,
            },
            path: one_line(path),
            problem: one_line(&problem.problem),
            fix: problem.fix,
        });
    }
}

/// Characters of a quoted value that are worth showing.
const QUOTE_CHARS_MAX: usize = 400;

/// A finding is one line of bearable length, whatever the user wrote.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(QUOTE_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

/// A value with its place.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    /// Line of the key, which is what a user looks for.
    line: u32,
    pub(crate) path: String,
    sink: &'a Sink,
}

impl<'a> Field<'a> {
    pub(crate) fn new(node: &'a Node, line: u32, path: String, sink: &'a Sink) -> Self {
        Self { node, line, path, sink }
    }

    /// Another value of the same object.
    pub(super) fn at(&self, node: &'a Node, line: u32, path: String) -> Self {
        Self {
            node,
            line,
            path,
            sink: self.sink,
        }
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Refuses the object.
    pub(crate) fn error(&self, problem: impl Into<String>, fix: impl Into<String>) {
        self.sink.push(
            Severity::Error,
            codes::SCHEMA,
            self.line,
            &self.path,
            Problem::new(problem, fix),
        );
    }

    /// Refuses the object, under a code of its own.
    pub(crate) fn error_as(&self, code: &'static str, problem: impl Into<String>, fix: impl Into<String>) {
        self.sink
            .push(Severity::Error, code, self.line, &self.path, Problem::new(problem, fix));
    }

    pub(crate) fn warn(&self, code: &'static str, problem: impl Into<String>, fix: impl Into<String>) {
        self.sink.push(
            Severity::Warning,
            code,
            self.line,
            &self.path,
            Problem::new(problem, fix),
        );
    }

    pub(crate) fn info(&self, code: &'static str, problem: impl Into<String>, fix: impl Into<String>) {
        self.sink
            .push(Severity::Info, code, self.line, &self.path, Problem::new(problem, fix));
    }

    /// The value of a check, or an error.
    pub(crate) fn check<T>(&self, check: Check<T>) -> Option<T> {
        check.map_err(|p| self.error(p.problem, p.fix)).ok()
    }

    fn mistyped<T>(&self, expected: &str) -> Option<T> {
        self.error(format!("is {}", self.node.describe()), format!("must be {expected}"));
        None
    }

    /// A mapping with known fields.
    pub(crate) fn fields(&self) -> Option<Fields<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields::new(entries, self.clone())),
            _ => self.mistyped("a mapping"),
        }
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Number(_) => self.mistyped("a string; put it in quotes"),
            Value::Null | Value::List(_) | Value::Map(_) => self.mistyped("a string"),
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.mistyped("true or false"),
        }
    }

    /// A whole number. `5.0` is one, as in Kubernetes.
    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let Value::Number(number) = &self.node.value else {
            let quoted = self.node.as_str().is_some_and(|text| text.parse::<i64>().is_ok());
            return self.mistyped(if quoted {
                "a whole number, without quotes"
            } else {
                "a whole number"
            });
        };
        let whole = number.as_i64().or_else(|| {
            // Beyond 2^53 a float has lost digits already.
            number
                .as_f64()
                .filter(|f| f.fract() == 0.0 && f.abs() < 9e15)
                .map(|f| f as i64)
        });
        let Some(whole) = whole.filter(|n| range.contains(n)) else {
            let (least, most) = range.into_inner();
            let fix = match (least, most) {
                // Too large rather than too small: the limit is what the user has to know.
                (l, m) if number.as_f64().is_some_and(|f| f > m as f64) => {
                    format!("must be a whole number from {l} to {m}")
                }
                (0, m) if m >= i64::from(i32::MAX) => "must be 0 or more".to_owned(),
                (l, m) if m >= i64::from(i32::MAX) => format!("must be {l} or more"),
                (l, m) => format!("must be a whole number from {l} to {m}"),
            };
            self.error(format!("is {number}"), fix);
            return None;
        };
        Some(whole)
    }

    /// A whole number of an unsigned field.
    pub(crate) fn u32(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.integer(i64::from(*range.start())..=i64::from(*range.end()))?;
        u32::try_from(number).ok()
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match &self.node.value {
            Value::Number(number) => number.as_f64(),
            _ => self.mistyped("a number"),
        }
    }

    /// A number of percent. With `fine`, anything above zero must reach Envoy's finest step.
    pub(crate) fn percent(&self, fine: bool) -> Option<Percent> {
        let number = self.number()?;
        let too_fine = fine && number > 0.0 && number < 0.0001;
        let percent = Percent::new(number).filter(|_| !too_fine);
        if percent.is_none() {
            let range = if fine {
                "must be 0, or from 0.0001 to 100"
            } else {
                "must be from 0 to 100"
            };
            self.error(format!("is {number}"), range);
        }
        percent
    }

    pub(crate) fn duration(&self, span: Span) -> Option<Duration> {
        let Some(text) = self.node.as_str() else {
            return self.mistyped("a duration such as \"500ms\" or \"5s\"");
        };
        self.check(duration::read(text, span))
    }

    /// One of the words of an enumeration; `T` by word.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known = || words.iter().map(|(word, _)| *word);
            let fix = match nearest(text, known()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("must be one of {}", known().collect::<Vec<_>>().join(", ")),
            };
            self.error(format!("is `{text}`"), fix);
        }
        found
    }

    /// The items of a list, each with its place.
    pub(crate) fn items(&self) -> Vec<Field<'a>> {
        let Value::List(items) = &self.node.value else {
            self.mistyped::<()>("a list");
            return Vec::new();
        };
        let item = |(i, node): (usize, &'a Node)| Field {
            node,
            line: node.line,
            path: format!("{}[{i}]", self.path),
            sink: self.sink,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The entries of a mapping whose keys are free, each with its place.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.mistyped::<()>("a mapping");
            return Vec::new();
        };
        let entry = |e: &'a crate::yaml::Entry| {
            let path = format!("{}.{}", self.path, e.key);
            (
                e.key.as_str(),
                Field {
                    node: &e.node,
                    line: e.line,
                    path,
                    sink: self.sink,
                },
            )
        };
        entries.iter().map(entry).collect()
    }

    /// Texts of a list.
    pub(crate) fn strings(&self) -> Vec<String> {
        self.items().iter().filter_map(Field::text).map(str::to_owned).collect()
    }

    /// Texts by free keys.
    pub(crate) fn string_map(&self) -> BTreeMap<String, String> {
        let text = |(key, field): (&str, Field<'_>)| Some((key.to_owned(), field.text()?.to_owned()));
        self.entries().into_iter().filter_map(text).collect()
    }

    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// Whether the value is `null`, which Kubernetes takes for "not given".
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }
}
