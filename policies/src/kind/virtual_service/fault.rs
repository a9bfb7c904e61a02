//! Injected faults.

use std::time::Duration;

use crate::codes;
use crate::decode::{Field, Span, nearest};
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

/// `percentage: { value: 12.5 }`. With `fine`, a share above zero must reach the finest step.
pub(super) fn percentage(field: &Field<'_>, fine: bool) -> Option<Percent> {
    let mut fields = field.fields()?;
    let value = match fields.field("value") {
        Some(value) => value.percent(fine),
        None => Some(Percent::ZERO),
    };
    fields.finish();
    value
}

/// The old whole number of percent.
fn whole_percent(field: &Field<'_>) -> Option<Percent> {
    field.u32(0..=100).and_then(|n| Percent::new(f64::from(n)))
}

impl Fault {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let (delay, abort) = (fields.field("delay"), fields.field("abort"));
        if delay.is_none() && abort.is_none() {
            field.error(
                "has neither `delay` nor `abort`",
                "give one of them, or remove the block",
            );
        }
        fields.finish();
        Some(Self {
            delay: delay.and_then(|f| Delay::read(&f)),
            abort: abort.and_then(|f| Abort::read(&f)),
        })
    }
}

impl Delay {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        if let Some(old) = fields.old("exponentialDelay") {
            old.error("is not supported", "use `fixedDelay`");
        }
        let percent = fields.old("percent").and_then(|f| {
            f.warn(codes::DEPRECATED, "is deprecated", "use `percentage.value`");
            whole_percent(&f)
        });
        let percentage = fields.field("percentage").and_then(|f| percentage(&f, true));
        let fixed = fields.required("fixedDelay", "give the length of the delay");
        let fixed_delay = fixed.and_then(|f| f.duration(Span::Positive));
        fields.finish();
        Some(Self {
            fixed_delay: fixed_delay?,
            percentage: percentage.or(percent).unwrap_or(Percent::ZERO),
        })
    }
}

impl Abort {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        if let Some(old) = fields.old("http2Error") {
            old.error("is not supported", "use `httpStatus` or `grpcStatus`");
        }
        let http = fields.field("httpStatus");
        let grpc = fields.field("grpcStatus");
        let percent = fields.old("percent").and_then(|f| {
            f.warn(
                codes::OLD_FIELD,
                "is a field of old Istio, taken as `percentage.value`",
                "write `percentage.value`",
            );
            whole_percent(&f)
        });
        let percentage = fields.field("percentage").and_then(|f| percentage(&f, true));
        fields.finish();
        if percent.or(percentage).is_none() {
            field.warn(
                codes::IDLE_FAULT,
                "has no `percentage`, so it never happens",
                "give `percentage.value`",
            );
        }
        let error = match (http, grpc) {
            (Some(_), Some(_)) => {
                field.error("has both `httpStatus` and `grpcStatus`", "keep one of them");
                return None;
            }
            (Some(http), None) => AbortError::Http(u16::try_from(http.u32(200..=600)?).ok()?),
            (None, Some(grpc)) => AbortError::Grpc(read_grpc(&grpc)?),
            (None, None) => {
                field.warn(
                    codes::SCHEMA_WARNING,
                    "says no status, so it is ignored",
                    "give `httpStatus` or `grpcStatus`",
                );
                return None;
            }
        };
        Some(Self {
            error,
            percentage: percentage.or(percent).unwrap_or(Percent::ZERO),
        })
    }
}

fn read_grpc(field: &Field<'_>) -> Option<GrpcCode> {
    let name = field.text()?;
    let code = GrpcCode::parse(name);
    if code.is_none() {
        let near = nearest(name, GrpcCode::ALL.map(GrpcCode::as_str));
        let fix = near.map_or("use a name such as UNAVAILABLE".to_owned(), |n| {
            format!("did you mean `{n}`?")
        });
        field.error(format!("is `{name}`"), fix);
    }
    code
}
