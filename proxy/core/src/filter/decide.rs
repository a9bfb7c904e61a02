use std::time::Duration;

use http::HeaderMap;

use super::cors::{CorsGrant, Crossing};
use super::fault::Injected;
use crate::chain::HttpFilters;
use crate::route::{FaultAbort, RequestHead, RouteFilters};

/// What the filters of a route make of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filtered<'a> {
    /// It waits first (Envoy's flag DI).
    pub delay: Option<Duration>,
    /// What happens then.
    pub then: Then<'a>,
    /// What its response is told for the page that asked, whoever makes the response.
    pub grant: Option<CorsGrant>,
}

/// What happens to a request behind the filters.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Then<'a> {
    /// What the route says.
    #[default]
    Route,
    /// It is answered on purpose (flag FI).
    Abort(&'a FaultAbort),
    /// It was a preflight: it is answered 200 with these headers.
    Preflight(HeaderMap),
}

/// Asks the filters in the order in which the connection manager has them. Which of them are in force is theirs to say, too:
/// settings of a route mean nothing without the filter.
///
/// `random` is drawn from once for each share that counts. Numbers that are all `u64::MAX` tell what is certain.
pub fn decide<'a>(
    filters: &'a RouteFilters,
    order: HttpFilters,
    head: &RequestHead<'_>,
    mut random: impl FnMut() -> u64,
) -> Filtered<'a> {
    if filters.is_empty() {
        return Filtered::default();
    }
    let fault = filters.fault.as_ref().filter(|_| order.fault);
    let injected = fault.map_or(Injected::NOTHING, |fault| fault.draw(&mut random));
    let cors = filters.cors.as_ref().filter(|_| order.cors);
    let crossing = cors.and_then(|cors| cors.cross(head, random()));
    // The later filter never sees what the earlier one has answered.
    match (injected.abort, crossing) {
        (_, Some(Crossing::Preflight(headers))) if order.cors_before_fault => Filtered {
            then: Then::Preflight(headers),
            ..Filtered::default()
        },
        (Some(abort), crossing) => Filtered {
            delay: injected.delay,
            then: Then::Abort(abort),
            grant: crossing.and_then(Crossing::granted).filter(|_| order.cors_before_fault),
        },
        (None, Some(Crossing::Preflight(headers))) => Filtered {
            delay: injected.delay,
            then: Then::Preflight(headers),
            grant: None,
        },
        (None, crossing) => Filtered {
            delay: injected.delay,
            then: Then::Route,
            grant: crossing.and_then(Crossing::granted),
        },
    }
}
