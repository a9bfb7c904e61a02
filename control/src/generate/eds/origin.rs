//! Which workload an endpoint belongs to, as Istio tells dashboards and metrics.

use std::collections::BTreeMap;

use weft_policies::labels;
use weft_xds::pb;

use crate::generate::wire;

/// Revision of a workload that states none (Istio).
const LATEST: &str = "latest";

/// `istio.workload`: `name;namespace;canonical-name;canonical-revision;cluster`. `None` when no workload is known.
pub(super) fn metadata(
    workload: &str,
    namespace: &str,
    of: &BTreeMap<String, String>,
    cluster_id: &str,
) -> Option<pb::core::Metadata> {
    if workload.is_empty() && of.is_empty() {
        return None;
    }
    let first = |names: &[&str]| names.iter().find_map(|name| of.get(*name)).map(String::as_str);
    let name = first(&[labels::CANONICAL_NAME, labels::APP_KUBERNETES_NAME, labels::APP]).unwrap_or(workload);
    let revision = first(&[
        labels::CANONICAL_REVISION,
        labels::APP_KUBERNETES_VERSION,
        labels::VERSION,
    ]);
    let text = format!(
        "{workload};{namespace};{name};{};{cluster_id}",
        revision.unwrap_or(LATEST)
    );
    Some(wire::metadata([(
        "istio",
        wire::structure([("workload", wire::text(text))]),
    )]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_fall_back_to_the_labels_that_people_use() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[], "web;shop;web;latest;c"),
            (&[("app", "a"), ("version", "v1")], "web;shop;a;v1;c"),
            (
                &[
                    ("app", "a"),
                    ("app.kubernetes.io/name", "n"),
                    ("app.kubernetes.io/version", "2"),
                ],
                "web;shop;n;2;c",
            ),
            (
                &[("service.istio.io/canonical-name", "x"), ("app", "a")],
                "web;shop;x;latest;c",
            ),
        ];
        for (labels, expected) in cases {
            let labels = labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let metadata = metadata("web", "shop", &labels, "c").unwrap();
            let value = metadata.filter_metadata["istio"].fields["workload"].clone();
            assert_eq!(value, wire::text(expected));
        }
    }
}
