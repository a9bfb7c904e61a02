//! Header operations.

use std::collections::BTreeMap;

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
