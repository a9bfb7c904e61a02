//! in → out: the text of a scenario file → its objects as text, its proxies, its calls.
//! owns: the format of scenarios.
//! may not touch: what objects mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Deserialize;
use serde_json::Value;
use weft_policies::{Finding, yaml};

/// A small mesh, proxies in it, and calls that pass through them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it shows.
    #[serde(default)]
    pub about: String,
    /// Objects of Kubernetes and Istio, as YAML documents.
    pub config: String,
    /// Line of the file on which `config` begins; findings count from there.
    #[serde(skip)]
    pub config_line: u32,
    /// The proxies.
    pub proxies: Vec<Proxy>,
    /// The calls.
    pub calls: Vec<Call>,
}

/// A proxy under test.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Proxy {
    /// Its name within the scenario.
    pub id: String,
    /// Sidecar or gateway.
    #[serde(rename = "type")]
    pub kind: ProxyType,
    /// Namespace of its pod.
    pub namespace: String,
    /// Address of its pod.
    pub ip: IpAddr,
    /// Labels of its pod.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Service account of its pod.
    #[serde(default)]
    pub service_account: String,
}

/// What a proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyType {
    /// Beside an application, capturing what goes in and out.
    Sidecar,
    /// On ports of its own.
    Gateway,
}

/// One call and the proxy that it meets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Unique within the scenario.
    pub name: String,
    /// `id` of the proxy.
    pub proxy: String,
    /// On which side it meets the proxy.
    pub direction: Direction,
    /// Destination of the connection before any redirection.
    pub address: IpAddr,
    /// Port of the connection before any redirection.
    pub port: u16,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// What the caller does on the wire.
    #[serde(default)]
    pub tls: Tls,
    /// Server name of the TLS handshake.
    pub sni: Option<String>,
    /// The one application protocol that the TLS handshake offers.
    pub alpn: Option<String>,
    /// Method of the request.
    #[serde(default = "get")]
    pub method: String,
    /// `Host` or `:authority`.
    #[serde(default)]
    pub host: String,
    /// Path and query, as in the request line.
    #[serde(default = "slash")]
    pub path: String,
    /// Further request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What somebody expects; for checks, not for us.
    #[serde(default)]
    pub expect: Option<Value>,
    /// Where the expectation comes from.
    #[serde(default)]
    pub why: Option<String>,
}

/// On which side a call meets a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The application of the proxy's pod connects to somewhere.
    Outbound,
    /// Somebody connects to the proxy's pod.
    Inbound,
    /// A client connects to a gateway.
    Gateway,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// One HTTP/1.1 request.
    #[default]
    Http,
    /// One HTTP/2 request, with prior knowledge in plain text.
    Http2,
    /// Bytes that are neither HTTP nor TLS, or a TLS handshake whose inside is of no interest.
    Tcp,
}

/// What the caller does on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS without a client certificate.
    Tls,
    /// TLS with a client certificate that the other side accepts.
    Mtls,
}

fn get() -> String {
    "GET".into()
}

fn slash() -> String {
    "/".into()
}

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not YAML.
    #[error("{file}:{}: {}", finding.origin.line, finding.problem)]
    Yaml {
        /// The file.
        file: String,
        /// What the reader says.
        finding: Box<Finding>,
    },
    /// It is YAML of another shape.
    #[error("{file}: is no scenario: {problem}")]
    Shape {
        /// The file.
        file: String,
        /// What is missing or unknown.
        problem: String,
    },
}

impl Scenario {
    /// Reads a scenario; `file` is its name in messages.
    ///
    /// # Errors
    /// When the text is not YAML, or not a scenario: a key is missing, unknown or of the wrong type, a call names no
    /// proxy of the file, a name stands twice.
    pub fn read(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let shape = |problem: String| ScenarioError::Shape {
            file: file.to_owned(),
            problem,
        };
        let node = yaml::parse_value(file, text).map_err(|finding| ScenarioError::Yaml {
            file: file.to_owned(),
            finding: Box::new(finding),
        })?;
        let config_line = node.get("config").map_or(0, |config| config.line + 1);
        // One call at a time, so that a message can name the call.
        let mut json = node.to_json();
        let calls = match json.get_mut("calls").map(Value::take) {
            Some(Value::Array(calls)) => calls,
            _ => return Err(shape("`calls` is not a list".into())),
        };
        json["calls"] = Value::Array(Vec::new());
        let mut scenario: Self = serde_json::from_value(json).map_err(|e| shape(e.to_string()))?;
        for (index, call) in calls.into_iter().enumerate() {
            let call = serde_json::from_value(call).map_err(|e| shape(format!("calls[{index}]: {e}")))?;
            scenario.calls.push(call);
        }
        scenario.config_line = config_line;
        scenario.check().map_err(shape)?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        let mut proxies = BTreeSet::new();
        for proxy in &self.proxies {
            if !proxies.insert(proxy.id.as_str()) {
                return Err(format!("two proxies have the id {:?}", proxy.id));
            }
        }
        let mut names = BTreeSet::new();
        for call in &self.calls {
            if !proxies.contains(call.proxy.as_str()) {
                return Err(format!(
                    "call {:?} names proxy {:?}, which is not in `proxies`",
                    call.name, call.proxy
                ));
            }
            if !names.insert(call.name.as_str()) {
                return Err(format!("two calls have the name {:?}", call.name));
            }
        }
        Ok(())
    }
}
