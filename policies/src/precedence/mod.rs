//! in → out: objects and a question (which host, whose namespace, which port) → the object or the policy that wins.
//! owns: age, names, visibility, lookup and merging of DestinationRules, the order of VirtualServices and their delegates.
//! may not touch: services, endpoints, proxies beyond their namespace and labels.

mod age;
mod delegates;
mod destination_rules;
mod effective;
mod gateways;
mod hosts;
mod peer_authentications;
mod virtual_services;
mod visibility;

pub use age::{by_age, sort_by_age};
pub use delegates::{DelegateProblem, delegate_of, with_delegates};
pub use destination_rules::{DestinationRules, MergedRule};
pub use effective::{EffectivePolicy, effective_policy};
pub use gateways::{GatewayRef, resolve_gateway};
pub use hosts::{by_specificity, expand_host, hosts_match, is_wildcard, most_specific, subset_of};
pub use peer_authentications::{Ignored, PeerModes, peer_modes};
pub use virtual_services::visible_virtual_services;
pub use visibility::{Reach, exported_to, reach};

#[cfg(test)]
mod tests;
