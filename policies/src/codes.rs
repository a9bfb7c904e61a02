//! The codes of findings: Istio's where Istio has one, so that filters that people already have keep working.

/// Admission error (Istio: SchemaValidationError).
pub const SCHEMA: &str = "IST0106";
/// Admission warning (Istio: SchemaWarning).
pub const SCHEMA_WARNING: &str = "IST0133";
/// Deprecated, still honoured (Istio: Deprecated).
pub const DEPRECATED: &str = "IST0002";
/// A rule that no request reaches (Istio: VirtualServiceUnreachableRule).
pub const UNREACHABLE_RULE: &str = "IST0130";
/// `consecutiveErrors` translated.
pub const CONSECUTIVE_ERRORS: &str = "WFT0002";
/// A field of old YAML, translated or dropped.
pub const OLD_FIELD: &str = "WFT0003";
/// A fault that never fires.
pub const IDLE_FAULT: &str = "WFT0008";
/// A known kind that weft does not act upon.
pub const UNSUPPORTED_KIND: &str = "WFT0012";
/// A field that is taken but not acted upon.
pub const NO_EFFECT: &str = "WFT0015";
/// Text that is no YAML, or beyond a limit.
pub const UNREADABLE: &str = "WFT0016";
/// A kind that weft does not know.
pub const UNKNOWN_KIND: &str = "WFT0017";
/// A kind of old Istio that is gone.
pub const REMOVED_KIND: &str = "WFT0018";
