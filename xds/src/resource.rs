//! A named, versioned resource. Its version is a hash of its content, so equal content has an equal version
//! on every replica and across restarts.

use std::sync::Arc;

use prost::{Message, Name};

use crate::content_version;
use crate::proto::{Any, pack};

/// A resource as it travels: cheap to clone, shared by all who need it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The name that others refer to it by.
    pub name: Arc<str>,
    /// Hash of the content, see [`content_version`]; or what a foreign server called it.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Arc<Any>,
}

impl Resource {
    /// Encodes a message and derives its version from the content.
    pub fn encode<M: Message + Name>(name: &str, message: &M) -> Self {
        Self::from_any(name, pack(message))
    }

    /// Takes an encoded message and derives its version from the content.
    pub fn from_any(name: &str, body: Any) -> Self {
        Self {
            name: name.into(),
            version: content_version(&body).into(),
            body: Arc::new(body),
        }
    }
}
