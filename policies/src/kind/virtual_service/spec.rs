//! The VirtualService itself.

use super::{HttpAction, HttpRoute, TcpRoute, TlsRoute, matches};
use crate::codes;
use crate::decode::{Field, Fields};
use crate::precedence::hosts_match;
use crate::validate;

/// Hosts of one VirtualService: each is compared with each other.
const HOSTS_MAX: usize = 4096;

/// `networking.istio.io` VirtualService.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VirtualService {
    /// Hosts as written; empty: a delegate. Short names belong to the object's namespace.
    pub hosts: Vec<String>,
    /// Gateway references as written; empty: `mesh`.
    pub gateways: Vec<String>,
    /// Rules of HTTP ports, in order.
    pub http: Vec<HttpRoute>,
    /// Rules of TLS ports, by SNI.
    pub tls: Vec<TlsRoute>,
    /// Rules of TCP ports.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see it; empty: the mesh default.
    pub export_to: Vec<String>,
}

impl VirtualService {
    /// Whether the rules take part in the mesh, that is, in sidecars (`gateways` empty or naming `mesh`).
    pub fn binds_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|g| g == crate::defaults::MESH_GATEWAY)
    }
}

impl VirtualService {
    pub(crate) fn read(fields: &mut Fields<'_>, own: &str) -> Self {
        let hosts_field = fields.field("hosts");
        let hosts = hosts_field.as_ref().map(|f| read_hosts(f)).unwrap_or_default();
        let gateways = matches::gateways(fields);
        let http = fields.field("http");
        let tls = fields.field("tls");
        let tcp = fields.field("tcp");
        let spec = Self {
            http: http
                .as_ref()
                .map(|f| f.items().iter().filter_map(HttpRoute::read).collect())
                .unwrap_or_default(),
            tls: tls
                .as_ref()
                .map(|f| f.items().iter().filter_map(|f| TlsRoute::read(f, &hosts)).collect())
                .unwrap_or_default(),
            tcp: tcp
                .as_ref()
                .map(|f| f.items().iter().filter_map(TcpRoute::read).collect())
                .unwrap_or_default(),
            export_to: fields.export_to(own, false),
            hosts,
            gateways,
        };
        if let Some(http) = &http {
            warn_unreachable(&http.items(), &spec.http);
        }
        let given = |field: &Option<Field<'_>>| field.as_ref().is_some_and(|f| !f.is_empty_list());
        if !given(&http) && !given(&tls) && !given(&tcp) {
            fields.at.error("has no rules", "give `http`, `tls` or `tcp`");
        }
        if !given(&hosts_field) {
            spec.check_delegate(&fields.at);
        } else if spec.binds_mesh() {
            spec.check_mesh(&fields.at);
        }
        spec
    }

    /// Without hosts it can only stand in for a rule of another VirtualService.
    fn check_delegate(&self, at: &Field<'_>) {
        let fix = "give `hosts`, or keep only `http` to make it a delegate";
        if !self.gateways.is_empty() {
            at.error("has gateways but no hosts", fix);
        }
        if !self.tls.is_empty() || !self.tcp.is_empty() {
            at.error("has tls or tcp rules but no hosts", fix);
        }
        if self
            .http
            .iter()
            .any(|rule| matches!(rule.action, HttpAction::Delegate(_)))
        {
            at.error(
                "has no hosts and delegates itself",
                "delegation has one level: move the rules up",
            );
        }
    }

    fn check_mesh(&self, at: &Field<'_>) {
        if self.hosts.iter().any(|host| host == "*") {
            at.error(
                "has host `*` and binds to the mesh",
                "name the hosts, or give `gateways` without `mesh`",
            );
        }
        if self
            .http
            .iter()
            .flat_map(|rule| &rule.matches)
            .any(super::HttpMatch::has_claims)
        {
            at.error(
                "matches token claims and binds to the mesh",
                "claims are known at gateways only: give `gateways` without `mesh`",
            );
        }
    }
}

/// Rules behind one that takes every request.
fn warn_unreachable(items: &[Field<'_>], rules: &[HttpRoute]) {
    // Items that could not be read have no rule; their object is refused anyhow.
    if items.len() != rules.len() {
        return;
    }
    if let Some(first) = rules.iter().position(|rule| rule.matches.is_empty()) {
        for item in &items[first + 1..] {
            let problem = format!("is never reached: http[{first}] has no match and takes every request");
            item.warn(codes::UNREACHABLE_RULE, problem, "put the rule without match last");
        }
    }
}

fn read_hosts(field: &Field<'_>) -> Vec<String> {
    let items = field.items();
    if items.len() > HOSTS_MAX {
        field.error(
            format!("has {} entries", items.len()),
            format!("must have at most {HOSTS_MAX}"),
        );
        return Vec::new();
    }
    let mut hosts: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = item.text() else { continue };
        if item.check(validate::wildcard_host(text, true)).is_none() {
            continue;
        }
        let host = text.to_ascii_lowercase();
        if let Some(other) = hosts.iter().find(|other| hosts_match(other, &host)) {
            item.error(format!("`{text}` overlaps with `{other}`"), "keep the wider of them");
        }
        hosts.push(host);
    }
    hosts
}
