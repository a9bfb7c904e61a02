//! What is wrong, where, and what would be right.

use std::fmt;

use crate::object::Origin;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Info,
    /// Taken, but probably not what was meant.
    Warning,
    /// The object (or the document) is refused; its last good value stays in force.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Which object a finding is about. Empty strings where the text was too broken to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectRef {
    /// Kind as written, such as `VirtualService`.
    pub kind: String,
    /// Namespace; empty for cluster-wide or unreadable objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.is_empty(), self.namespace.is_empty()) {
            (true, _) => f.write_str("document"),
            (false, true) => write!(f, "{} {}", self.kind, self.name),
            (false, false) => write!(f, "{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// One thing that a user should know about what they wrote.
///
/// `Display` is the single line that every surface prints:
/// `error[IST0106] VirtualService prod/reviews (rules.yaml:12) spec.http[0].route[1].weight: is -3; must be 0 or more`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Istio's analysis code where there is one (`IST0106`), else one of weft's own (`WFT0003`).
    pub code: &'static str,
    /// The object it is about.
    pub object: ObjectRef,
    /// File and line of the field (not of the object).
    pub origin: Origin,
    /// Path of the field, such as `spec.http[0].match[1].uri`; empty for the object as a whole.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right; empty where nothing can be advised.
    pub fix: String,
}

impl Finding {
    /// Whether this finding refuses its object.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {} ({})", self.severity, self.code, self.object, self.origin)?;
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
