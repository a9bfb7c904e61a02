//! The server's half of the state-of-the-world protocol, for Envoy and gRPC clients.
//!
//! Listeners and clusters always travel as a whole: what a response leaves out is gone. Route tables and endpoints
//! travel one by one, and nothing ever says that one is gone.

use std::sync::Arc;

use crate::ledger::Batch;
use crate::nack;
use crate::pb::discovery::{DiscoveryRequest, DiscoveryResponse};
use crate::subscription::{LimitExceeded, NAMES_MAX, Received, Subscription};
use crate::{Any, Resource, TypeUrl, Verdict, content_version};

/// Takes a request of a client. One that answers an older response than the newest is stale and counts for nothing:
/// the client repeats its names with its answer to the newest.
///
/// # Errors
/// When the client goes beyond a limit; its stream should then end.
pub fn receive(sub: &mut Subscription, request: &DiscoveryRequest) -> Result<Received, LimitExceeded> {
    if request.resource_names.len() > NAMES_MAX {
        return Err(LimitExceeded::Names);
    }
    let received = if sub.opened {
        let received = settle(sub, request);
        if received == Received::Stale {
            return Ok(received);
        }
        received
    } else {
        // A nonce here belongs to an earlier stream; a version says that something is held.
        sub.opened = true;
        sub.answer_due = true;
        sub.resumed = !request.version_info.is_empty();
        Received::Subscription
    };
    let added = sub
        .interest
        .replace(&request.resource_names, sub.kind.allows_wildcard());
    sub.owed.extend(added);
    let unwanted = |name: &&Arc<str>| !sub.interest.wants(name);
    let names: Vec<Arc<str>> = sub.ledger.holdings().keys().filter(unwanted).cloned().collect();
    for name in names {
        sub.owed.remove(&name);
        sub.ledger.forget(&name);
    }
    sub.check_limits()?;
    Ok(received)
}

fn settle(sub: &mut Subscription, request: &DiscoveryRequest) -> Received {
    if request.response_nonce.is_empty() {
        return Received::Subscription;
    }
    let Ok(nonce) = request.response_nonce.parse::<u64>() else {
        return Received::Stale;
    };
    let verdict = nack::verdict(request.error_detail.as_ref());
    let settled = sub.ledger.settle(nonce, &verdict);
    if nonce != sub.ledger.last_nonce() {
        // Still tells what the client holds, but its names are those of an earlier moment.
        return Received::Stale;
    }
    match settled {
        // The newest response was answered before: a change of names under the same nonce.
        None => Received::Subscription,
        Some(batch) if verdict == Verdict::Ack => {
            sub.resumed = false;
            Received::Ack(batch)
        }
        Some(batch) => Received::Nack(batch, verdict),
    }
}

/// Whether responses of this type have to carry everything.
pub fn is_whole(kind: TypeUrl) -> bool {
    kind.allows_wildcard()
}

/// Notes a response that carries everything there is, unless the last one carried exactly that.
pub fn send_whole(sub: &mut Subscription, resources: Vec<Resource>) -> Option<Batch> {
    let version = version(&resources);
    let unchanged = sub.last_full.as_ref() == Some(&version);
    if unchanged && !sub.answer_due && sub.owed.is_empty() {
        return None;
    }
    sub.last_full = Some(version);
    sub.owed.clear();
    let left_out: Vec<Arc<str>> = {
        let kept = |name: &Arc<str>| resources.iter().any(|resource| resource.name == *name);
        sub.ledger
            .holdings()
            .keys()
            .filter(|name| !kept(name))
            .cloned()
            .collect()
    };
    Some(sub.send(resources, left_out))
}

/// Notes a response that carries some resources of a type that travels one by one.
pub fn send_some(sub: &mut Subscription, resources: Vec<Resource>) -> Batch {
    // What the protocol cannot say is not owed: a name that does not exist stays unanswered.
    sub.owed.clear();
    sub.send(resources, Vec::new())
}

/// The response that carries a batch.
pub fn response(kind: TypeUrl, batch: &Batch) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: version(&batch.upserts),
        resources: batch.upserts.iter().map(|resource| (*resource.body).clone()).collect(),
        type_url: kind.as_str().to_owned(),
        nonce: batch.nonce.to_string(),
        ..DiscoveryResponse::default()
    }
}

/// One version for several resources: a hash of their names and versions.
fn version(resources: &[Resource]) -> String {
    let mut text = String::new();
    for resource in resources {
        text.push_str(&resource.name);
        text.push('\n');
        text.push_str(&resource.version);
        text.push('\n');
    }
    content_version(&Any {
        type_url: String::new(),
        value: text.into_bytes(),
    })
}
