//! Injected faults.

use std::time::Duration;

use crate::percent::Percent;

/// `http[].fault`: delay first, then abort, each by its own draw.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Fault {
    /// Pause before forwarding.
    pub delay: Option<Delay>,
    /// Answer instead of forwarding.
    pub abort: Option<Abort>,
}

/// `fault.delay`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delay {
    /// Length of the pause.
    pub fixed_delay: Duration,
    /// Share of requests.
    pub percentage: Percent,
}

/// `fault.abort`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Abort {
    /// The answer.
    pub error: AbortError,
    /// Share of requests; zero where the user gave none.
    pub percentage: Percent,
}

/// The answer of an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AbortError {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status, in an HTTP 200.
    Grpc(GrpcCode),
}

/// A gRPC status code; the discriminant is the number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The names are gRPC's own; `as_str` spells them.
pub enum GrpcCode {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl GrpcCode {
    /// Every code, by number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The canonical upper-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// Reads a canonical name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }

    /// The number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }
}
