//! The server's half of the incremental protocol (xDS protocol: "Incremental xDS").

use std::sync::Arc;

use crate::ledger::Batch;
use crate::nack;
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource};
use crate::subscription::{LimitExceeded, NAMES_MAX, Received, Subscription};
use crate::{TypeUrl, Verdict, WILDCARD};

/// Takes a request of a client. Changes of subscription count even when the nonce is stale.
///
/// # Errors
/// When the client goes beyond a limit; its stream should then end.
pub fn receive(sub: &mut Subscription, request: &DeltaDiscoveryRequest) -> Result<Received, LimitExceeded> {
    let stated = &request.initial_resource_versions;
    if request.resource_names_subscribe.len().max(stated.len()) > NAMES_MAX {
        return Err(LimitExceeded::Names);
    }
    let first = !sub.opened;
    if first {
        sub.opened = true;
        sub.answer_due = true;
        for (name, version) in stated {
            sub.ledger.state(name, version);
        }
    }
    let received = settle(sub, request);
    let wildcard_allowed = sub.kind.allows_wildcard();
    if request.resource_names_subscribe.is_empty() && request.resource_names_unsubscribe.is_empty() && first {
        sub.interest.unnamed(wildcard_allowed);
    }
    for name in &request.resource_names_subscribe {
        if name == WILDCARD && sub.interest.is_wildcard() && !first {
            // Asked for again: whatever it had may be forgotten.
            sub.owed.extend(sub.ledger.holdings().keys().cloned());
            sub.answer_due = true;
        }
        sub.interest.add(name, wildcard_allowed);
        let held = first && stated.contains_key(name);
        if name != WILDCARD && !held {
            sub.owed.insert(name.as_str().into());
        }
    }
    for name in &request.resource_names_unsubscribe {
        unsubscribe(sub, name);
    }
    sub.check_limits()?;
    Ok(received)
}

fn unsubscribe(sub: &mut Subscription, name: &str) {
    sub.interest.remove(name);
    sub.owed.remove(name);
    if name == WILDCARD {
        let unwanted = |held: &&Arc<str>| !sub.interest.wants(held);
        let names: Vec<Arc<str>> = sub.ledger.holdings().keys().filter(unwanted).cloned().collect();
        for name in names {
            sub.ledger.forget(&name);
        }
    } else if sub.interest.is_wildcard() {
        // The client cannot know whether the wildcard still covers the name, so it is told.
        sub.owed.insert(name.into());
    } else {
        sub.ledger.forget(name);
    }
}

fn settle(sub: &mut Subscription, request: &DeltaDiscoveryRequest) -> Received {
    if request.response_nonce.is_empty() {
        return Received::Subscription;
    }
    let verdict = nack::verdict(request.error_detail.as_ref());
    let nonce = request.response_nonce.parse().ok();
    match nonce.and_then(|nonce| sub.ledger.settle(nonce, &verdict)) {
        None => Received::Stale,
        Some(batch) if verdict == Verdict::Ack => Received::Ack(batch),
        Some(batch) => Received::Nack(batch, verdict),
    }
}

/// The response that carries a batch. `system_version` is for people only.
pub fn response(kind: TypeUrl, batch: &Batch, system_version: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        system_version_info: system_version.to_owned(),
        resources: batch
            .upserts
            .iter()
            .map(|resource| WireResource {
                name: resource.name.to_string(),
                version: resource.version.to_string(),
                resource: Some((*resource.body).clone()),
                ..WireResource::default()
            })
            .collect(),
        type_url: kind.as_str().to_owned(),
        removed_resources: batch.removals.iter().map(ToString::to_string).collect(),
        nonce: batch.nonce.to_string(),
        ..DeltaDiscoveryResponse::default()
    }
}
