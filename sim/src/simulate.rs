//! in → out: a scenario → a report.
//! owns: building each proxy of the scenario once.
//! may not touch: a decision.

use std::collections::BTreeMap;

use serde_json::json;
use weft_control::{
    generate::resources,
    scope::{Scope, ScopeError},
    world::{self, World},
};
use weft_policies::{Finding, Severity};

use crate::{
    call,
    node::Node,
    report::{CallReport, Report},
    scenario::{Proxy, ProxyType, Scenario},
};

/// A scenario that cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A proxy of it is none.
    #[error("proxy {id:?}: {source}")]
    Proxy {
        /// Its id.
        id: String,
        /// What is wrong.
        #[source]
        source: ScopeError,
    },
}

/// Answers every call of a scenario; `file` is its name in the report.
///
/// # Errors
/// When a proxy cannot be made. Objects that are refused are findings of the report: a simulation has no history, so
/// they have no effect.
pub fn simulate(file: &str, scenario: &Scenario) -> Result<Report, SimulateError> {
    // Blank lines in front, so that findings name lines of the scenario's own file.
    let blank = "\n".repeat(usize::try_from(scenario.config_line.saturating_sub(1)).unwrap_or_default());
    let config = format!("{blank}{}", scenario.config);
    let (world, said) = world::load([(file, config.as_str())]);
    let mut findings: Vec<String> = said
        .iter()
        .filter(|finding| finding.severity != Severity::Info)
        .map(Finding::to_string)
        .collect();
    let mut nodes = BTreeMap::new();
    for proxy in &scenario.proxies {
        let scope = scope(proxy, &world).map_err(|source| SimulateError::Proxy {
            id: proxy.id.clone(),
            source,
        })?;
        let resources = resources(&world, &scope);
        findings.extend(
            resources
                .notes
                .iter()
                .filter(|note| note.severity != Severity::Info)
                .map(Finding::to_string),
        );
        nodes.insert(proxy.id.as_str(), Node::new(proxy.ip, &resources, &mut findings));
    }
    findings.dedup();
    let calls = scenario.calls.iter().filter_map(|call| {
        let node = nodes.get(call.proxy.as_str())?;
        let mut why = Vec::new();
        let result = call::answer(node, call, &mut why);
        Some(CallReport {
            name: call.name.clone(),
            result,
            why,
        })
    });
    Ok(Report {
        file: file.to_owned(),
        calls: calls.collect(),
        findings,
    })
}

/// The proxy introduces itself as a real one would.
fn scope(proxy: &Proxy, world: &World) -> Result<Scope, ScopeError> {
    let kind = match proxy.kind {
        ProxyType::Sidecar => "sidecar",
        ProxyType::Gateway => "router",
    };
    let namespace = &proxy.namespace;
    let id = format!(
        "{kind}~{}~{}.{namespace}~{namespace}.svc.cluster.local",
        proxy.ip, proxy.id
    );
    let metadata = json!({
        "NAMESPACE": namespace,
        "LABELS": proxy.labels,
        "SERVICE_ACCOUNT": proxy.service_account,
    });
    Scope::from_parts(&id, &metadata, world)
}
