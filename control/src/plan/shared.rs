//! Shared values as parts of a key.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A shared immutable value that is compared and hashed by its place in memory, so that a key may hold a whole
/// object at the cost of a pointer. The world keeps the allocation of what did not change, and a key keeps its
/// value alive, so an equal address means an equal value.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// The value, as the world holds it.
    pub fn new(value: &Arc<T>) -> Self {
        Self(Arc::clone(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_that_of_the_allocation() {
        let value = Arc::new(7);
        assert_eq!(Shared::new(&value), Shared::new(&value).clone());
        assert_ne!(Shared::new(&value), Shared::new(&Arc::new(7)));
    }
}
