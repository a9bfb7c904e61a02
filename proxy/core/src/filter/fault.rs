use std::time::Duration;

use crate::route::{Fault, FaultAbort};

/// What was drawn for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Injected<'a> {
    pub(super) delay: Option<Duration>,
    pub(super) abort: Option<&'a FaultAbort>,
}

impl Injected<'_> {
    pub(super) const NOTHING: Self = Self {
        delay: None,
        abort: None,
    };
}

impl Fault {
    /// Draws for delay and abort apart: a request may get both, one or none.
    pub(super) fn draw(&self, random: &mut impl FnMut() -> u64) -> Injected<'_> {
        let delay = self.delay.as_ref().filter(|delay| delay.share.draw(random()));
        let abort = self.abort.as_ref().filter(|abort| abort.share.draw(random()));
        Injected {
            delay: delay.map(|delay| delay.fixed),
            abort,
        }
    }
}

/// gRPC's name for a status (grpc `statuscodes.md`).
pub fn grpc_name(status: u8) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(status)).copied()
}
