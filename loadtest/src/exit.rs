//! Exit codes, each with one meaning.

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Fine = 0,
    /// Nothing was answered, or the machine would not do what it was asked for.
    Failed = 1,
    /// Flags make no sense.
    Usage = 2,
    /// An expectation did not hold.
    Expectation = 3,
    /// A host has no address.
    Resolve = 4,
    /// Nobody listens there, or it cannot be reached.
    Connect = 5,
    /// TLS could not be agreed upon.
    Tls = 6,
    /// The target speaks something else.
    Protocol = 7,
    /// The generator did not keep its schedule: the figures are not to be believed.
    Invalid = 8,
    /// Ended early on request, after a report.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
