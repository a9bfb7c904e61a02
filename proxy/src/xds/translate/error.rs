use weft_proxy_core::cluster::EndpointError;
use weft_proxy_core::route::{BindError, HeaderOpsError, HostError, PatternError, SplitError};
use weft_xds::UnpackError;

/// Why a resource is refused: the text of a NACK.
#[derive(Debug, thiserror::Error)]
#[error("{resource}: {path}: {problem}")]
pub struct TranslateError {
    /// Name of the resource.
    pub resource: String,
    /// The field, `virtual_hosts[0].routes[2].match`.
    pub path: String,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is required.
    #[error("is missing")]
    Missing,
    /// It is known and cannot be honoured; ignoring it would be wrong.
    #[error("is not supported: {0}")]
    Unsupported(&'static str),
    /// It has a value that it cannot have.
    #[error("{found:?} is not {wanted}")]
    Invalid {
        /// The value.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// It holds another message, or garbage.
    #[error("{0}")]
    Unpack(#[from] UnpackError),
    /// A regular expression.
    #[error("{0}")]
    Pattern(#[from] PatternError),
    /// A header operation.
    #[error("{0}")]
    Headers(#[from] HeaderOpsError),
    /// Weights.
    #[error("{0}")]
    Split(#[from] SplitError),
    /// Domains.
    #[error("{0}")]
    Hosts(#[from] HostError),
    /// Cluster names.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Endpoints.
    #[error("{0}")]
    Endpoints(#[from] EndpointError),
}

/// A problem on its way up; each level adds its field.
#[derive(Debug)]
pub(super) struct Fault {
    path: String,
    problem: Problem,
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl Fault {
    pub(super) fn into_error(self, resource: &str) -> TranslateError {
        TranslateError {
            resource: resource.to_owned(),
            path: self.path,
            problem: self.problem,
        }
    }
}

impl<P: Into<Problem>> From<P> for Fault {
    fn from(problem: P) -> Self {
        Self {
            path: String::new(),
            problem: problem.into(),
        }
    }
}

/// Says where a problem is.
pub(super) trait At<T> {
    fn at(self, field: &str) -> Outcome<T>;
    fn at_index(self, field: &str, index: usize) -> Outcome<T>;
}

impl<T, E: Into<Fault>> At<T> for Result<T, E> {
    fn at(self, field: &str) -> Outcome<T> {
        self.map_err(|error| {
            let mut fault = error.into();
            fault.path = match fault.path.is_empty() {
                true => field.to_owned(),
                false => format!("{field}.{}", fault.path),
            };
            fault
        })
    }

    fn at_index(self, field: &str, index: usize) -> Outcome<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error).at(&format!("{field}[{index}]")),
        }
    }
}

/// A value that a field cannot have.
pub(super) fn invalid(found: impl ToString, wanted: &'static str) -> Fault {
    Problem::Invalid {
        found: found.to_string(),
        wanted,
    }
    .into()
}

/// A field that cannot be honoured.
pub(super) fn unsupported(why: &'static str) -> Fault {
    Problem::Unsupported(why).into()
}

/// Refuses a field that is set.
pub(super) fn refuse(is_set: bool, field: &str, why: &'static str) -> Outcome<()> {
    if is_set {
        Err(unsupported(why)).at(field)
    } else {
        Ok(())
    }
}
