//! Which DestinationRule shapes a host for a client.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::hosts::lower;
use super::{by_age, by_specificity, expand_host, is_wildcard, reach, subset_of};
use crate::kind::destination_rule::DestinationRule;
use crate::labels;
use crate::mesh::MeshConfig;
use crate::object::Object;

/// One or several DestinationRules of one namespace and host, merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedRule {
    /// Namespace of the objects.
    pub namespace: String,
    /// The merged specification; `host` is the full name, in lower case.
    pub spec: DestinationRule,
    /// The objects, the deciding one first.
    pub sources: Vec<Arc<Object<DestinationRule>>>,
}

/// All DestinationRules, indexed for lookup. Built once per state of the world.
#[derive(Debug, Default)]
pub struct DestinationRules {
    root_namespace: String,
    mesh_default: Vec<String>,
    by_namespace: HashMap<String, NamespaceRules>,
}

/// Rules by host. Several on one host are those that cannot be merged: with a selector, or with another `exportTo`.
#[derive(Debug, Default)]
struct NamespaceRules {
    exact: HashMap<String, Vec<Arc<MergedRule>>>,
    /// Most specific first.
    wildcard: Vec<(String, Vec<Arc<MergedRule>>)>,
}

impl DestinationRules {
    /// Merges and indexes. `rules` may come in any order.
    pub fn new(rules: &[Arc<Object<DestinationRule>>], mesh: &MeshConfig) -> Self {
        let mut sorted: Vec<_> = rules.iter().collect();
        // Istio: rules with a selector come before those without, so that merging never mixes the two.
        sorted.sort_by(|a, b| {
            let key = |o: &Object<DestinationRule>| o.spec.workload_selector.is_none();
            key(a).cmp(&key(b)).then_with(|| by_age(&a.meta, &b.meta))
        });
        let mut merged: BTreeMap<(&str, String), Vec<MergedRule>> = BTreeMap::new();
        for object in sorted {
            let namespace = object.meta.namespace.as_str();
            let host = expand_host(&object.spec.host, namespace, &mesh.cluster_domain);
            let group = merged.entry((namespace, host.clone())).or_default();
            merge(group, object, host, &mesh.default_destination_rule_export_to);
        }
        let mut by_namespace: HashMap<String, NamespaceRules> = HashMap::new();
        for ((namespace, host), group) in merged {
            let rules = by_namespace.entry(namespace.to_owned()).or_default();
            let group = group.into_iter().map(Arc::new).collect();
            if is_wildcard(&host) {
                rules.wildcard.push((host, group));
            } else {
                rules.exact.insert(host, group);
            }
        }
        for rules in by_namespace.values_mut() {
            rules.wildcard.sort_by(|(a, _), (b, _)| by_specificity(a, b));
        }
        Self {
            root_namespace: mesh.root_namespace.clone(),
            mesh_default: mesh.default_destination_rule_export_to.clone(),
            by_namespace,
        }
    }

    /// The rule that shapes `host` (full name, its Service in `service_namespace`) for a client in namespace `client`.
    ///
    /// `client_labels` are those of the client's proxy; `None` for server-side use, where rules with a selector do not
    /// count. Istio looks in the client's namespace, then in the service's, then in the root namespace; the first level
    /// that has a rule for the host decides, and levels are never combined.
    pub fn find(
        &self,
        host: &str,
        service_namespace: &str,
        client: &str,
        client_labels: Option<&BTreeMap<String, String>>,
    ) -> Option<Arc<MergedRule>> {
        let host = lower(host);
        let in_root = client == self.root_namespace;
        let own = self.by_namespace.get(client).and_then(|rules| {
            // The root namespace's shared rules are level three; here it contributes what it keeps to itself.
            rules.most_specific(&host, |rule| !in_root || self.is_private(rule))
        });
        let found = own
            .or_else(|| self.exported(service_namespace, &host, client))
            .or_else(|| self.exported(&self.root_namespace, &host, client))?;
        let fits = |rule: &&Arc<MergedRule>| match (&rule.spec.workload_selector, client_labels) {
            (None, _) => true,
            (Some(_), None) => false,
            // A selector only speaks about workloads of its own namespace.
            (Some(selector), Some(labels)) => rule.namespace == client && labels::selects(selector, labels),
        };
        // Rules with a selector stand first, hence they beat the one without.
        found.into_iter().find(fits).map(Arc::clone)
    }

    /// The rules of `namespace` for the most specific host, if they are exported to `client`. The host is chosen before
    /// visibility is asked: an invisible specific rule hides a visible general one.
    fn exported<'a>(&'a self, namespace: &str, host: &str, client: &str) -> Option<Vec<&'a Arc<MergedRule>>> {
        let rules = self.by_namespace.get(namespace)?;
        let found = rules.most_specific(host, |rule| !self.is_private(rule))?;
        let visible: Vec<_> = found
            .into_iter()
            .filter(|rule| reach(&rule.spec.export_to, &self.mesh_default, &rule.namespace, client).is_some())
            .collect();
        (!visible.is_empty()).then_some(visible)
    }

    /// Whether a rule is kept to its own namespace. Istio: a rule with a selector always is.
    fn is_private(&self, rule: &MergedRule) -> bool {
        let stated = if rule.spec.export_to.is_empty() {
            &self.mesh_default
        } else {
            &rule.spec.export_to
        };
        rule.spec.workload_selector.is_some() || stated.iter().all(|e| e == "." || *e == rule.namespace || e == "~")
    }
}

impl NamespaceRules {
    fn most_specific(&self, host: &str, counts: impl Fn(&MergedRule) -> bool) -> Option<Vec<&Arc<MergedRule>>> {
        let pick = |group: &'_ Vec<Arc<MergedRule>>| -> Vec<usize> {
            (0..group.len()).filter(|i| counts(&group[*i])).collect()
        };
        let exact = if is_wildcard(host) { None } else { self.exact.get(host) };
        let groups = exact.into_iter().chain(
            self.wildcard
                .iter()
                .filter(|(wide, _)| subset_of(host, wide))
                .map(|(_, group)| group),
        );
        for group in groups {
            let kept = pick(group);
            if !kept.is_empty() {
                return Some(kept.into_iter().map(|i| &group[i]).collect());
            }
        }
        None
    }
}

/// Adds an object to the rules of its host: into the first that has the same selector and the same visibility, else
/// behind them. Subsets are appended (the first of a name stays), the policy is the first that anyone states.
fn merge(group: &mut Vec<MergedRule>, object: &Arc<Object<DestinationRule>>, host: String, mesh_default: &[String]) {
    let spec = &object.spec;
    let same = |rule: &&mut MergedRule| {
        rule.spec.workload_selector == spec.workload_selector
            && export_set(&rule.spec.export_to, mesh_default) == export_set(&spec.export_to, mesh_default)
    };
    let Some(rule) = group.iter_mut().find(same) else {
        group.push(MergedRule {
            namespace: object.meta.namespace.clone(),
            spec: DestinationRule { host, ..spec.clone() },
            sources: vec![Arc::clone(object)],
        });
        return;
    };
    for subset in &spec.subsets {
        if rule.spec.subsets.iter().all(|s| s.name != subset.name) {
            rule.spec.subsets.push(subset.clone());
        }
    }
    if rule.spec.traffic_policy.is_none() {
        rule.spec.traffic_policy.clone_from(&spec.traffic_policy);
    }
    rule.sources.push(Arc::clone(object));
}

fn export_set<'a>(stated: &'a [String], mesh_default: &'a [String]) -> std::collections::BTreeSet<&'a str> {
    let stated = if stated.is_empty() { mesh_default } else { stated };
    stated.iter().map(String::as_str).collect()
}
