//! The older object wins.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::object::{Meta, Object};

/// Older first, then by name, then by namespace. Objects without a timestamp are of equal age, and the oldest (as
/// Istio takes a missing time), which keeps the order total.
pub fn by_age(a: &Meta, b: &Meta) -> Ordering {
    let key = |m: &Meta| m.created.unwrap_or(i64::MIN);
    key(a)
        .cmp(&key(b))
        .then_with(|| a.name.cmp(&b.name))
        .then_with(|| a.namespace.cmp(&b.namespace))
}

/// Sorts objects of one kind by `by_age`.
pub fn sort_by_age<S>(objects: &mut [Arc<Object<S>>]) {
    objects.sort_by(|a, b| by_age(&a.meta, &b.meta));
}
