//! Codes of findings about files and about the kinds of Kubernetes itself.

/// The same object stands in two places.
pub(super) const DUPLICATE_OBJECT: &str = "WFT0101";
/// A Kubernetes object that does not decode.
pub(super) const UNDECODABLE: &str = "WFT0102";
/// An object without a name.
pub(super) const NAMELESS: &str = "WFT0103";
/// A file that cannot be read.
pub(super) const UNREADABLE_FILE: &str = "WFT0104";
/// Objects of a broken file that are in force as a control plane of before has kept them.
pub(super) const KEPT_FROM_BEFORE: &str = "WFT0105";
