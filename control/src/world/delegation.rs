//! VirtualServices as they apply: with the rules of their delegates in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::virtual_service::{HttpAction, VirtualService};
use weft_policies::mesh::MeshConfig;
use weft_policies::precedence::{delegate_of, with_delegates};

use super::{NamespacedName, Policies};

type Policy = Arc<Object<VirtualService>>;

/// What was merged last. A root keeps its allocation until it or one of its delegates changes, so that nobody downstream
/// takes it for changed.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    raw: Policies<VirtualService>,
    mesh: Arc<MeshConfig>,
    merged: BTreeMap<NamespacedName, Merged>,
}

#[derive(Debug)]
struct Merged {
    root: Policy,
    delegates: Vec<Option<Policy>>,
    object: Policy,
}

impl Delegation {
    /// Brings `list` up to date with the objects as they were written.
    pub(super) fn arrange(
        &mut self,
        raw: &Policies<VirtualService>,
        mesh: &Arc<MeshConfig>,
        list: &mut Policies<VirtualService>,
    ) {
        if Arc::ptr_eq(&self.raw, raw) && Arc::ptr_eq(&self.mesh, mesh) {
            return;
        }
        self.raw = Arc::clone(raw);
        self.mesh = Arc::clone(mesh);
        let mut before = std::mem::take(&mut self.merged);
        let all = raw.iter().map(|root| {
            if !delegates(root) {
                return Arc::clone(root);
            }
            let name = NamespacedName::new(&root.meta.namespace, &root.meta.name);
            let merged = self.merge(before.remove(&name), root);
            let object = Arc::clone(&merged.object);
            self.merged.insert(name, merged);
            object
        });
        *list = Arc::new(all.collect());
    }

    fn merge(&self, before: Option<Merged>, root: &Policy) -> Merged {
        let export = &self.mesh.default_virtual_service_export_to;
        let found = root.spec.http.iter().filter_map(|rule| match &rule.action {
            HttpAction::Delegate(named) => Some(
                delegate_of(&self.raw, export, &root.meta.namespace, named)
                    .ok()
                    .cloned(),
            ),
            HttpAction::Route(_) | HttpAction::Redirect(_) | HttpAction::DirectResponse(_) => None,
        });
        let delegates: Vec<Option<Policy>> = found.collect();
        if let Some(before) = before.filter(|before| before.is_of(root, &delegates)) {
            return before;
        }
        let object = with_delegates(root, &self.raw, export, &self.mesh.cluster_domain);
        Merged {
            root: Arc::clone(root),
            delegates,
            object: Arc::new(object),
        }
    }
}

impl Merged {
    fn is_of(&self, root: &Policy, delegates: &[Option<Policy>]) -> bool {
        let same = |one: &Option<Policy>, other: &Option<Policy>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        Arc::ptr_eq(&self.root, root)
            && self.delegates.len() == delegates.len()
            && self
                .delegates
                .iter()
                .zip(delegates)
                .all(|(one, other)| same(one, other))
    }
}

fn delegates(root: &Policy) -> bool {
    let is_delegating = |action: &HttpAction| matches!(action, HttpAction::Delegate(_));
    !root.spec.hosts.is_empty() && root.spec.http.iter().any(|rule| is_delegating(&rule.action))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::watch::events_of;
    use crate::world::{Changes, World, Writer};

    #[test]
    fn a_root_differs_when_its_delegate_does_and_keeps_its_allocation_otherwise() {
        let rule = |name: &str, rest: &str| {
            format!(
                "
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {{name: {name}, namespace: shop}}
    spec: {{{rest}}}
    "
            )
        };
        let root = rule("root", "hosts: [a.test], http: [{delegate: {name: leaf}}]");
        let leaf = |host: &str| {
            rule(
                "leaf",
                &format!("http: [{{route: [{{destination: {{host: {host}}}}}]}}]"),
            )
        };
        let mut writer = Writer::default();
        let mut publish = |documents: &[&str]| {
            let text = documents.join("\n---\n");
            writer.apply(events_of([("in.yaml", text.as_str())]));
            writer.publish().unwrap()
        };
        let first = publish(&[&root, &leaf("web")]);
        let named = |world: &World, name: &str| {
            let found = world.virtual_services.iter().find(|object| object.meta.name == name);
            found.cloned().unwrap()
        };
        let other = publish(&[
            &root,
            &leaf("web"),
            &rule("other", "hosts: [b.test], http: [{redirect: {uri: /}}]"),
        ]);
        assert!(
            Arc::ptr_eq(&named(&first, "root"), &named(&other, "root")),
            "nothing of it has changed"
        );
        let second = publish(&[&root, &leaf("api")]);
        let changed = Changes::between(&other, &second).objects;
        let names: BTreeSet<&str> = changed.iter().map(|key| &*key.name.name).collect();
        assert_eq!(names, BTreeSet::from(["leaf", "other", "root"]));
        let gone = publish(&[&root]);
        let changed = Changes::between(&second, &gone).objects;
        assert!(changed.iter().any(|key| &*key.name.name == "root"), "{changed:?}");
    }
}
