//! in → out: the text of a file → documents whose nodes know their lines; findings for what cannot be read.
//! owns: YAML as Kubernetes reads it, lists flattened, and every limit on the size of what is read.
//! may not touch: the meaning of any field beyond `apiVersion`, `kind` and `metadata`.

mod build;
mod document;
mod node;
mod scalar;
mod split;

pub use build::{ALIASED_NODES_MAX, DEPTH_MAX, DOCUMENT_NODES_MAX, MAPPING_ENTRIES_MAX};
pub(crate) use document::parse_node;
pub use document::{DOCUMENTS_MAX, Document, FILE_BYTES_MAX, parse, parse_at, parse_bytes, parse_value};
pub use node::{Entry, Node, Value};

#[cfg(test)]
mod tests;
