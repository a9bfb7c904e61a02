use weft_proxy_core::route::Bindings;

use super::error::{Outcome, TranslateError};

/// How many ignored fields of one resource are named.
pub const IGNORED_MAX: usize = 64;

/// A core value, and what of its message has no effect.
#[derive(Debug)]
pub struct Translated<T> {
    /// The value.
    pub value: T,
    /// Fields and extensions that were ignored, each named once, at most [`IGNORED_MAX`].
    pub ignored: Vec<String>,
}

/// What a translation collects on its way.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) bindings: &'a mut Bindings,
    ignored: Vec<String>,
}

impl Context<'_> {
    /// Notes something that has no effect.
    pub(super) fn ignore(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.ignored.len() < IGNORED_MAX && !self.ignored.contains(&what) {
            self.ignored.push(what);
        }
    }

    /// Notes a field that has no effect if it is set.
    pub(super) fn ignore_if(&mut self, is_set: bool, field: &str) {
        if is_set {
            self.ignore(field);
        }
    }
}

/// Runs a translation.
pub(super) fn translate<T>(
    resource: &str,
    bindings: &mut Bindings,
    work: impl FnOnce(&mut Context<'_>) -> Outcome<T>,
) -> Result<Translated<T>, TranslateError> {
    let mut context = Context {
        bindings,
        ignored: Vec::new(),
    };
    let value = work(&mut context).map_err(|fault| fault.into_error(resource))?;
    Ok(Translated {
        value,
        ignored: context.ignored,
    })
}
