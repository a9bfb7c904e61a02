//! in → out: a request and the connection manager that got it → what core says becomes of it.
//! owns: asking core's steps in the order in which the proxy asks them.
//! may not touch: the outcome of a step.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_proxy_core::{
    chain::HttpConnectionManager,
    filter::{CorsGrant, Then, decide, grpc_name},
    route::{
        Action, ClusterChoice, Destination as Choice, FormatContext, Forward, Found, HeaderOps, Normalized,
        RequestHead, RetryOn, Route,
    },
};

use crate::{
    answer::{Abort, Answer, Delay, Details, Fault, HeaderChanges, LocalReply, Mirror, Outcome, Retries, Rewrite},
    destination::{Target, named, policy, target},
    node::Node,
    scenario::Call,
};

/// What becomes of an HTTP request that reached this connection manager.
pub(crate) fn request(node: &Node, manager: &HttpConnectionManager, call: &Call, why: &mut Vec<String>) -> Answer {
    let Some(table) = node.route_table(&manager.route) else {
        why.push("the route table of this listener has not been sent".into());
        return reply(404).into();
    };
    why.push(format!("route table {}", table.name));
    let (raw, query) = match call.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (call.path.as_str(), None),
    };
    let path = match manager.path.apply(raw) {
        Ok(Normalized::Forward(path)) => path,
        Ok(Normalized::Redirect(path)) => return moved(307, with_query(&path, query)).into(),
        Err(error) => {
            why.push(error.to_string());
            return reply(400).into();
        }
    };
    let headers = header_map(call);
    let stripped = manager.stripped_authority(&call.host, call.port);
    let head = RequestHead {
        method: &call.method,
        scheme: "http",
        authority: stripped.as_deref().unwrap_or(&call.host),
        path: &path,
        query,
        headers: &headers,
    };
    match table.find(&head) {
        Err(miss) => {
            why.push(match miss {
                weft_proxy_core::route::Miss::NoVirtualHost => format!("no virtual host for {:?}", call.host),
                weft_proxy_core::route::Miss::NoRoute(host) => {
                    format!("no route of virtual host {} matches", host.name)
                }
            });
            reply(404).into()
        }
        Ok(found) => {
            explain(&found, why);
            act(node, manager, call, found.route, &head, why)
        }
    }
}

fn act(
    node: &Node,
    manager: &HttpConnectionManager,
    call: &Call,
    route: &Route,
    head: &RequestHead<'_>,
    why: &mut Vec<String>,
) -> Answer {
    // What is drawn for a share of requests is told as a share; what befalls all of them is what becomes of this one.
    let filtered = decide(&route.filters, manager.filters, head, || u64::MAX);
    let is_grpc = call
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    match filtered.then {
        Then::Route => {}
        Then::Abort(abort) => {
            why.push("the fault of this rule".into());
            return match abort.grpc_status.and_then(grpc_name) {
                Some(grpc_status) if is_grpc => Outcome::GrpcStatus { grpc_status }.into(),
                _ => local(abort.status.as_u16(), HeaderMap::new(), None, route, head).into(),
            };
        }
        Then::Preflight(headers) => {
            why.push("the cross-origin policy of this rule".into());
            return Outcome::Reply(LocalReply {
                status: 200,
                headers: texts(&headers),
                body: None,
            })
            .into();
        }
    }
    match &route.action {
        Action::Redirect(redirect) => {
            let mut headers = HeaderMap::new();
            if let Some(location) = redirect.location(&route.matcher.path, head) {
                headers.insert(http::header::LOCATION, location);
            }
            local(redirect.status.as_u16(), headers, None, route, head).into()
        }
        Action::DirectResponse(direct) => {
            let body = String::from_utf8_lossy(&direct.body).into_owned();
            local(direct.status.as_u16(), HeaderMap::new(), Some(body), route, head).into()
        }
        Action::Forward(forward) => {
            let mut answer = sent(node, manager, call, route, forward, head, why);
            if let (Some(details), Some(grant)) = (&mut answer.details, &filtered.grant) {
                details.response_headers.set.extend(granted(grant));
            }
            answer
        }
    }
}

/// A reply of the proxy's own, with the operations that its route makes on it.
fn local(status: u16, mut headers: HeaderMap, body: Option<String>, route: &Route, head: &RequestHead<'_>) -> Outcome {
    route
        .response_headers
        .apply_to_response(&mut headers, &context(head, route));
    Outcome::Reply(LocalReply {
        status,
        headers: texts(&headers),
        body,
    })
}

fn granted(grant: &CorsGrant) -> BTreeMap<String, String> {
    let mut headers = HeaderMap::new();
    grant.apply(&mut headers);
    texts(&headers)
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

fn sent(
    node: &Node,
    manager: &HttpConnectionManager,
    call: &Call,
    route: &Route,
    forward: &Forward,
    head: &RequestHead<'_>,
    why: &mut Vec<String>,
) -> Answer {
    let choices = choices(&forward.choice);
    let total: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
    let mut weights = Vec::new();
    let mut missing = 0;
    for choice in &choices {
        let share = 100.0 * f64::from(choice.weight) / total as f64;
        match target(node, &choice.cluster, call) {
            Target::Destination(destination) => {
                why.push(format!(
                    "cluster {}{}",
                    choice.cluster.name,
                    node.cluster_origin(&choice.cluster.name)
                ));
                weights.push(crate::answer::Weighted {
                    destination,
                    weight: share,
                });
            }
            Target::Passthrough => {
                why.push(format!("cluster {}", choice.cluster.name));
                let details = details(node, manager, route, forward, choice, head);
                return Answer {
                    outcome: Outcome::Passthrough {
                        passthrough: crate::answer::True,
                    },
                    details: Some(details),
                    policy: None,
                };
            }
            Target::Application(inbound) => {
                why.push(format!(
                    "cluster {}{}",
                    choice.cluster.name,
                    node.cluster_origin(&choice.cluster.name)
                ));
                let details = details(node, manager, route, forward, choice, head);
                return Answer {
                    outcome: Outcome::Inbound { inbound },
                    details: Some(details),
                    policy: None,
                };
            }
            Target::Blackhole => return reply(503).into(),
            Target::Missing(destination) => {
                why.push(format!("cluster {} does not exist", choice.cluster.name));
                missing += 1;
                weights.push(crate::answer::Weighted {
                    destination,
                    weight: share,
                });
            }
        }
    }
    let Some(first) = choices.first().filter(|_| missing < weights.len()) else {
        return local(forward.cluster_not_found.as_u16(), HeaderMap::new(), None, route, head).into();
    };
    let details = Some(details(node, manager, route, forward, first, head));
    let outcome = match <[_; 1]>::try_from(weights) {
        Ok([only]) => Outcome::Destination {
            destination: only.destination,
        },
        Err(weights) => Outcome::Weights { weights },
    };
    Answer {
        outcome,
        details,
        policy: None,
    }
}

/// What can be chosen at all.
fn choices(choice: &ClusterChoice) -> Vec<&Choice> {
    match choice {
        ClusterChoice::One(destination) => vec![destination],
        ClusterChoice::Weighted(split) => split.destinations().iter().filter(|choice| choice.weight > 0).collect(),
    }
}

fn details(
    node: &Node,
    manager: &HttpConnectionManager,
    route: &Route,
    forward: &Forward,
    choice: &Choice,
    head: &RequestHead<'_>,
) -> Box<Details> {
    let path = forward.path.apply(&route.matcher.path, head.path);
    let authority = forward
        .host_rewrite(choice)
        .apply(head, node.first_hostname(&choice.cluster.name).as_deref());
    let authority = authority.map_or_else(
        || head.authority.to_owned(),
        |value| String::from_utf8_lossy(value.as_bytes()).into(),
    );
    let retry = forward.retry.as_ref();
    Box::new(Details {
        rewrite: Rewrite {
            path: with_query(&path, head.query),
            authority,
        },
        timeout: forward.timeout.unwrap_or(Duration::ZERO),
        retries: Retries {
            attempts: retry.map_or(0, |retry| retry.attempts),
            per_try_timeout: retry.and_then(|retry| retry.per_try_timeout).unwrap_or(Duration::ZERO),
            retry_on: retry.map(|retry| conditions(retry.on)).unwrap_or_default(),
            retry_codes: retry
                .map(|retry| retry.codes.iter().map(|code| code.as_u16()).collect())
                .unwrap_or_default(),
        },
        fault: if manager.filters.fault {
            fault(route)
        } else {
            Fault::default()
        },
        mirror: forward.mirrors.iter().filter_map(mirror).collect(),
        request_headers: changes(&choice.request_headers),
        response_headers: changes(&choice.response_headers),
        policy: policy(node, &choice.cluster, forward.hash.first()),
        route_name: Some(route.name.to_string()).filter(|name| !name.is_empty()),
    })
}

/// The words of a retry policy. That a list of status codes is in force shows in the list itself.
fn conditions(on: RetryOn) -> Vec<String> {
    on.words()
        .filter(|word| *word != "retriable-status-codes")
        .map(str::to_owned)
        .collect()
}

fn fault(route: &Route) -> Fault {
    let Some(fault) = &route.filters.fault else {
        return Fault::default();
    };
    Fault {
        delay: fault.delay.as_ref().map(|delay| Delay {
            percentage: delay.share.percent(),
            fixed: delay.fixed,
        }),
        abort: fault.abort.as_ref().map(|abort| Abort {
            percentage: abort.share.percent(),
            status: abort.status.as_u16(),
        }),
    }
}

fn mirror(mirror: &weft_proxy_core::route::Mirror) -> Option<Mirror> {
    let destination = named(&mirror.cluster.name)?;
    Some(Mirror {
        host: destination.host,
        port: destination.port,
        subset: destination.subset,
        percentage: mirror.share.percent(),
    })
}

fn changes(ops: &HeaderOps) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    for op in ops.set() {
        changes.set.insert(op.name.to_string(), op.text().to_owned());
    }
    for op in ops.added() {
        let values = changes.add.entry(op.name.to_string()).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(op.text());
    }
    changes.remove = ops.removed().iter().map(HeaderName::to_string).collect();
    changes
}

fn explain(found: &Found<'_>, why: &mut Vec<String>) {
    why.push(format!("virtual host {}", found.virtual_host.name));
    let Some(provenance) = &found.route.provenance else {
        return;
    };
    why.push(match provenance.rule {
        Some(rule) => format!("{} http[{rule}]", provenance.object),
        None => provenance.object.to_string(),
    });
}

fn context<'a>(head: &RequestHead<'a>, route: &'a Route) -> FormatContext<'a> {
    FormatContext {
        request: Some(head.headers),
        method: Some(head.method),
        authority: Some(head.authority),
        scheme: Some(head.scheme),
        path: Some(head.path),
        route_name: Some(&route.name),
        ..FormatContext::default()
    }
}

/// Names and values that no header can have are left out, as no client could send them.
fn header_map(call: &Call) -> HeaderMap {
    let pairs = call.headers.iter();
    pairs
        .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?)))
        .collect()
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn reply(status: u16) -> Outcome {
    Outcome::Reply(LocalReply {
        status,
        headers: Default::default(),
        body: None,
    })
}

fn moved(status: u16, location: String) -> Outcome {
    let headers = [("location".to_owned(), location)].into();
    Outcome::Reply(LocalReply {
        status,
        headers,
        body: None,
    })
}
