//! in → out: a snapshot and a request's head → the route, what its filters make of the request, and where it leads.
//! owns: everything that is read of a snapshot for a request, in one go.
//! may not touch: bodies, connections.

use std::sync::Arc;

use http::Response;
use http::header::HOST;
use http::request::Parts;
use weft_proxy_core::chain::RouteSource;
use weft_proxy_core::filter::{Then, decide};
use weft_proxy_core::route::{Action, FormatContext, Forward, RequestHead, Route};

use super::body::ReplyBody;
use super::conn::ConnContext;
use super::failure::{Failure, RequestFailure, RouteFailure};
use super::filter::{self, Mirroring, Passed};
use super::forward::Failed;
use super::prepare::format_context;
use super::reply;
use crate::snapshot::Snapshot;
use crate::telemetry::labels::DestinationLabels;
use crate::upstream::cluster::Cluster;

/// What a snapshot says about a request.
pub(super) struct Found {
    /// What filters leave to be done first, and last.
    pub(super) passed: Passed,
    /// What the request is counted under, where a policy refuses what it was meant for.
    pub(super) blocked: Option<Arc<DestinationLabels>>,
    /// What is done in between.
    pub(super) way: Result<Way, Failed>,
}

/// Where a route leads.
pub(super) enum Way {
    /// To a cluster; `place` is the destination's among those of the route's choice.
    Upstream {
        route: Arc<Route>,
        cluster: Arc<Cluster>,
        place: usize,
        /// Who else gets this request.
        mirrors: Vec<Mirroring>,
    },
    /// To an answer of our own.
    Local(Response<ReplyBody>),
    /// To an answer on purpose, in place of this destination's.
    Abort {
        failed: Failed,
        destination: Option<Arc<DestinationLabels>>,
    },
}

/// Reads the snapshot.
pub(super) fn find(snapshot: &Snapshot, context: &ConnContext, parts: &Parts) -> Result<Found, Failed> {
    let table = match &context.manager.route {
        RouteSource::Rds(name) => snapshot.route_table(name).ok_or(RouteFailure::NoTable)?,
        RouteSource::Inline(table) => table,
    };
    let head = RequestHead {
        method: parts.method.as_str(),
        scheme: context.scheme,
        authority: parts
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let route = table.find(&head).map_err(|_miss| RouteFailure::NotFound)?.route;
    let filtered = decide(&route.filters, context.manager.filters, &head, || {
        context.worker.random()
    });
    let way = match filtered.then {
        Then::Route => lead(snapshot, context, route, parts, &head),
        Then::Abort(abort) => Ok(Way::Abort {
            failed: Failed {
                failure: Failure::Fault {
                    status: abort.status,
                    grpc_status: abort.grpc_status,
                },
                route: Some(route.clone()),
            },
            destination: aborted(snapshot, context, route),
        }),
        Then::Preflight(headers) => Ok(Way::Local(filter::preflight(headers))),
    };
    Ok(Found {
        passed: Passed {
            delay: filtered.delay,
            grant: filtered.grant,
        },
        blocked: blocked(context, route),
        way,
    })
}

/// Istio's virtual host for unknown destinations that the policy refuses.
const BLOCK_ALL: &str = "block_all";

fn blocked(context: &ConnContext, route: &Route) -> Option<Arc<DestinationLabels>> {
    (*route.virtual_host == *BLOCK_ALL).then(|| context.worker.shared.blocked_destination.clone())
}

/// What an aborted request is counted under. It takes no turn in a split: the first destination has to do.
fn aborted(snapshot: &Snapshot, context: &ConnContext, route: &Route) -> Option<Arc<DestinationLabels>> {
    let Action::Forward(forward) = &route.action else {
        return None;
    };
    let first = forward.choice.destinations().first()?;
    Some(
        snapshot
            .cluster_for(&context.listener, first.cluster.slot)?
            .labels
            .clone(),
    )
}

fn lead(
    snapshot: &Snapshot,
    context: &ConnContext,
    route: &Arc<Route>,
    parts: &Parts,
    head: &RequestHead<'_>,
) -> Result<Way, Failed> {
    match &route.action {
        Action::Forward(forward) => upstream(snapshot, context, route, forward),
        Action::Redirect(redirect) => match redirect.location(&route.matcher.path, head) {
            Some(location) => Ok(local(context, route, parts, reply::redirect(redirect.status, location))),
            None => Err(RequestFailure::Path.into()),
        },
        Action::DirectResponse(direct) => Ok(local(
            context,
            route,
            parts,
            reply::local(direct.status, direct.body.clone()),
        )),
    }
}

fn upstream(snapshot: &Snapshot, context: &ConnContext, route: &Arc<Route>, forward: &Forward) -> Result<Way, Failed> {
    let place = forward.choice.choose();
    let chosen = &forward.choice.destinations()[place];
    match snapshot.cluster_for(&context.listener, chosen.cluster.slot) {
        Some(cluster) => Ok(Way::Upstream {
            route: route.clone(),
            cluster: cluster.clone(),
            place,
            mirrors: mirrors(snapshot, context, forward),
        }),
        None => Err(Failed {
            failure: Failure::Route(RouteFailure::NoCluster),
            route: Some(route.clone()),
        }),
    }
}

/// Each copy by a draw of its own; one to a cluster that is not there is not made.
fn mirrors(snapshot: &Snapshot, context: &ConnContext, forward: &Forward) -> Vec<Mirroring> {
    let drawn = forward
        .mirrors
        .iter()
        .filter(|mirror| mirror.share.draw(context.worker.random()));
    drawn
        .filter_map(|mirror| {
            Some(Mirroring {
                cluster: snapshot.cluster_for(&context.listener, mirror.cluster.slot)?.clone(),
                keep_authority: mirror.keep_authority,
            })
        })
        .collect()
}

/// Response header operations of a route on a reply that needs no upstream.
fn local(context: &ConnContext, route: &Route, parts: &Parts, mut response: Response<ReplyBody>) -> Way {
    if !route.response_headers.is_empty() {
        let format = FormatContext {
            response_code: Some(response.status().as_u16()),
            request: Some(&parts.headers),
            ..format_context(context, parts)
        };
        route
            .response_headers
            .apply_to_response(response.headers_mut(), &format);
    }
    Way::Local(response)
}
