//! The DestinationRule itself.

use std::collections::BTreeMap;

use super::TrafficPolicy;
use crate::decode::{Field, Fields};
use crate::validate;

/// `networking.istio.io` DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DestinationRule {
    /// Host as written; a short name belongs to the object's namespace.
    pub host: String,
    /// Policy of the host and of its subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Subsets; names are unique.
    pub subsets: Vec<Subset>,
    /// Client namespaces that may use the rule; empty: the mesh default.
    pub export_to: Vec<String>,
    /// Client pods of the own namespace that use the rule; unset: all.
    pub workload_selector: Option<BTreeMap<String, String>>,
}

/// One entry of `subsets[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Subset {
    /// Name that routes use.
    pub name: String,
    /// Labels of its endpoints; empty: all.
    pub labels: BTreeMap<String, String>,
    /// Blocks that replace those of the rule.
    pub traffic_policy: Option<TrafficPolicy>,
}

impl DestinationRule {
    pub(crate) fn read(fields: &mut Fields<'_>, own: &str) -> Self {
        let host = fields
            .required("host", "name the service that the rule shapes")
            .and_then(|f| {
                let host = f.text()?;
                f.check(validate::wildcard_host(host, false)).map(|()| host.to_owned())
            });
        let subsets_field = fields.field("subsets");
        let subsets = subsets_field.as_ref().map(|f| read_subsets(f)).unwrap_or_default();
        let export = fields.field("exportTo");
        let workload_selector = fields.selector("workloadSelector", "matchLabels");
        let export_to = fields.export_to(own, false);
        if let Some(export) = export.filter(|_| workload_selector.is_some())
            && export_to.iter().any(|e| e != "." && e != own)
        {
            export.error(
                "reaches beyond the own namespace, with a workloadSelector",
                "use `.` or remove one of them",
            );
        }
        Self {
            host: host.unwrap_or_default(),
            traffic_policy: fields.field("trafficPolicy").and_then(|f| TrafficPolicy::read(&f)),
            subsets,
            export_to,
            workload_selector,
        }
    }
}

fn read_subsets(field: &Field<'_>) -> Vec<Subset> {
    let mut names = std::collections::BTreeSet::new();
    let read = |field: &Field<'_>| {
        let mut fields = field.fields()?;
        let name = fields.required("name", "give the subset a name").and_then(|f| {
            let name = f.text()?;
            f.check(validate::dns_label(name))?;
            if !names.insert(name.to_owned()) {
                f.error(
                    format!("`{name}` is the name of another subset"),
                    "give each subset its own name",
                );
            }
            Some(name.to_owned())
        });
        let labels = fields.labels("labels");
        let traffic_policy = fields.field("trafficPolicy").and_then(|f| TrafficPolicy::read(&f));
        fields.finish();
        Some(Subset {
            name: name.unwrap_or_default(),
            labels,
            traffic_policy,
        })
    };
    field.items().iter().filter_map(read).collect()
}
