//! A mapping whose fields are known: what nobody asks for is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Field, Span, nearest};
use crate::codes;
use crate::percent::Percent;
use crate::validate;
use crate::yaml::{Entry, Value};

/// The fields of a mapping. `finish` reports what has not been asked for.
pub(crate) struct Fields<'a> {
    entries: &'a [Entry],
    used: Vec<bool>,
    known: Vec<&'static str>,
    /// The mapping itself.
    pub(crate) at: Field<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(entries: &'a [Entry], at: Field<'a>) -> Self {
        Self {
            entries,
            used: vec![false; entries.len()],
            known: Vec::new(),
            at,
        }
    }

    /// The field with this JSON name, or its snake-case spelling. `None`: not given, or null.
    pub(crate) fn field(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        self.take(name)
    }

    /// As `field`, for old names that are not worth suggesting to anyone.
    pub(crate) fn old(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.take(name)
    }

    fn take(&mut self, name: &str) -> Option<Field<'a>> {
        let index = self
            .entries
            .iter()
            .position(|e| e.key == name || camel(&e.key).as_deref() == Some(name))?;
        self.used[index] = true;
        let field = self.entry(index);
        (!field.is_null()).then_some(field)
    }

    fn entry(&self, index: usize) -> Field<'a> {
        let entry = &self.entries[index];
        self.at.at(&entry.node, entry.line, self.path_of(&entry.key))
    }

    fn path_of(&self, name: &str) -> String {
        if self.at.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at.path)
        }
    }

    /// A field that must be given.
    pub(crate) fn required(&mut self, name: &'static str, fix: &str) -> Option<Field<'a>> {
        let field = self.field(name);
        if field.is_none() {
            self.missing(name, fix);
        }
        field
    }

    /// Says that a field is missing.
    pub(crate) fn missing(&self, name: &str, fix: &str) {
        let path = self.path_of(name);
        self.at.at(self.at.node, self.at.line(), path).error("is missing", fix);
    }

    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        self.field(name)?.text().map(str::to_owned)
    }

    /// As `string`; an empty text is as good as none, as in protobuf.
    pub(crate) fn filled(&mut self, name: &'static str) -> Option<String> {
        self.string(name).filter(|text| !text.is_empty())
    }

    pub(crate) fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.field(name)?.bool()
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        self.bool(name).unwrap_or_default()
    }

    /// A number from 0; what Istio types as int32 or uint32.
    pub(crate) fn count(&mut self, name: &'static str) -> Option<u32> {
        self.field(name)?.u32(0..=i32::MAX as u32)
    }

    /// As `count`; 0 is as good as unset.
    pub(crate) fn limit(&mut self, name: &'static str) -> Option<u32> {
        self.count(name).filter(|n| *n > 0)
    }

    pub(crate) fn u64(&mut self, name: &'static str) -> Option<u64> {
        let number = self.field(name)?.integer(0..=i64::MAX)?;
        u64::try_from(number).ok()
    }

    /// A port, 1..=65535.
    pub(crate) fn port(&mut self, name: &'static str) -> Option<u32> {
        self.field(name)?.u32(1..=65_535)
    }

    pub(crate) fn percent(&mut self, name: &'static str) -> Option<Percent> {
        self.field(name)?.percent(false)
    }

    pub(crate) fn duration(&mut self, name: &'static str, span: Span) -> Option<Duration> {
        self.field(name)?.duration(span)
    }

    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        self.field(name)?.word(words)
    }

    pub(crate) fn strings(&mut self, name: &'static str) -> Vec<String> {
        self.field(name).map(|f| f.strings()).unwrap_or_default()
    }

    pub(crate) fn items(&mut self, name: &'static str) -> Vec<Field<'a>> {
        self.field(name).map(|f| f.items()).unwrap_or_default()
    }

    /// Labels by which something is selected.
    pub(crate) fn labels(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let Some(field) = self.field(name) else {
            return BTreeMap::new();
        };
        let labels = field.string_map();
        field.check(validate::selector(&labels));
        labels
    }

    /// A block that holds labels under `key`; a block without any is no mistake, but rarely meant.
    pub(crate) fn selector(&mut self, name: &'static str, key: &'static str) -> Option<BTreeMap<String, String>> {
        let field = self.field(name)?;
        let mut fields = field.fields()?;
        let labels = fields.labels(key);
        fields.finish();
        if labels.is_empty() {
            field.warn(
                codes::SCHEMA_WARNING,
                "selects by no label, hence everything",
                "give labels, or remove the block",
            );
        }
        Some(labels)
    }

    /// `exportTo` of an object of namespace `own`.
    pub(crate) fn export_to(&mut self, own: &str, hidden: bool) -> Vec<String> {
        let Some(field) = self.field("exportTo") else {
            return Vec::new();
        };
        let list = field.strings();
        field.check(validate::export_to(&list, own, hidden));
        list
    }

    /// Reads each item of a list; those that cannot be read are reported by `read` and left out.
    pub(crate) fn list<T>(&mut self, name: &'static str, read: impl Fn(&Field<'a>) -> Option<T>) -> Vec<T> {
        self.items(name).iter().filter_map(read).collect()
    }

    /// Whether a field of this name was written, with a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether a list was left out, or left empty. A list whose items are all wrong is neither.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.value(name)
            .is_none_or(|value| matches!(value, Value::List(items) if items.is_empty()))
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        let entry = self
            .entries
            .iter()
            .find(|e| e.key == name || camel(&e.key).as_deref() == Some(name));
        entry
            .map(|e| &e.node.value)
            .filter(|value| !matches!(value, Value::Null))
    }

    /// Reports fields that nobody knows.
    pub(crate) fn finish(self) {
        for (index, entry) in self.entries.iter().enumerate().filter(|(i, _)| !self.used[*i]) {
            let camel = camel(&entry.key);
            let name = camel.as_deref().unwrap_or(&entry.key);
            let fix = match nearest(name, self.known.iter().copied()) {
                Some(known) if known == name => format!("it is given twice, as `{known}` as well"),
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.entry(index).error("is no field of this kind", fix);
        }
    }

    /// Leaves unknown fields alone, and names them.
    pub(crate) fn rest(self) -> Vec<&'a str> {
        let unused = self.entries.iter().zip(&self.used).filter(|(_, used)| !**used);
        unused.map(|(entry, _)| entry.key.as_str()).collect()
    }
}

/// `redirect_code` → `redirectCode`; `None` where there is nothing to translate.
fn camel(key: &str) -> Option<String> {
    key.contains('_').then(|| {
        let mut name = String::with_capacity(key.len());
        let mut upper = false;
        for c in key.chars() {
            match c {
                '_' => upper = true,
                c if upper => {
                    name.push(c.to_ascii_uppercase());
                    upper = false;
                }
                c => name.push(c),
            }
        }
        name
    })
}
