//! in → out: answers → a report: JSON for machines, lines for people.
//! owns: the shape of both.
//! may not touch: a decision.

use std::fmt::{self, Display, Formatter, Write};

use serde::Serialize;

use crate::{
    answer::{Answer, Destination, Details, HeaderChanges, Outcome, Refusal},
    duration,
};

/// The answers to all calls of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// What configuration had to be said about, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// An answer for each call, in the order of the file.
    pub calls: Vec<CallReport>,
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// Name of the call.
    pub name: String,
    /// What becomes of it.
    pub result: Answer,
    /// The objects and rule indexes that decided, in order.
    pub why: Vec<String>,
}

/// The reports as JSON: one object for one file, an array for several.
///
/// # Errors
/// Never for reports made here: all their keys are text.
pub fn json(reports: &[Report]) -> serde_json::Result<String> {
    match reports {
        [only] => serde_json::to_string_pretty(only),
        several => serde_json::to_string_pretty(several),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.file)?;
        for finding in &self.findings {
            writeln!(f, "  ! {finding}")?;
        }
        for call in &self.calls {
            writeln!(f, "\n  {}\n    → {}", call.name, call.result.outcome)?;
            if let Some(details) = &call.result.details {
                for line in lines(details) {
                    writeln!(f, "      {line}")?;
                }
            }
            for why in &call.why {
                writeln!(f, "    because {why}")?;
            }
        }
        Ok(())
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Destination { destination } => write!(f, "{destination}"),
            Outcome::Weights { weights } => {
                for (index, weighted) in weights.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(
                        f,
                        "{comma}{}% {}",
                        (weighted.weight * 100.0).round() / 100.0,
                        weighted.destination
                    )?;
                }
                Ok(())
            }
            Outcome::Passthrough { .. } => f.write_str("forwarded to where it was going"),
            Outcome::Blackhole { .. } => f.write_str("closed"),
            Outcome::Inbound { inbound } => match (&inbound.socket, inbound.port) {
                (Some(path), _) => write!(f, "the application, at {path}"),
                (None, Some(port)) => write!(f, "the application, port {port}"),
                (None, None) => f.write_str("the application"),
            },
            Outcome::Reply(reply) => {
                write!(f, "answered here with {}", reply.status)?;
                for (name, value) in &reply.headers {
                    write!(f, ", {name}: {value}")?;
                }
                match &reply.body {
                    Some(body) => write!(f, ", body {body:?}"),
                    None => Ok(()),
                }
            }
            Outcome::GrpcStatus { grpc_status } => write!(f, "answered here with gRPC status {grpc_status}"),
            Outcome::Error { error } => f.write_str(match error {
                Refusal::NoListener => "refused: nothing listens on this port",
                Refusal::TlsRequired => "refused: this port takes TLS only",
                Refusal::MtlsRequired => "refused: this port takes mutual TLS only",
                Refusal::ProtocolError => "refused: not the protocol that this port speaks",
                Refusal::NoRouteForSni => "refused: no server for this server name",
            }),
        }
    }
}

impl Display for Destination {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        if let Some(subset) = &self.subset {
            write!(f, " subset {subset}")?;
        }
        write!(f, " [{}]", self.endpoints.join(", "))
    }
}

/// What there is to say besides the destination: only what differs from doing nothing.
fn lines(details: &Details) -> Vec<String> {
    let mut lines = vec![format!("as {} {}", details.rewrite.authority, details.rewrite.path)];
    if let Some(name) = &details.route_name {
        lines.push(format!("rule {name}"));
    }
    if !details.timeout.is_zero() {
        lines.push(format!("timeout {}", duration::text(details.timeout)));
    }
    if details.retries.attempts > 0 {
        lines.push(format!(
            "up to {} retries on {}",
            details.retries.attempts,
            details.retries.retry_on.join(", ")
        ));
    }
    if let Some(delay) = &details.fault.delay {
        lines.push(format!(
            "{}% are delayed by {}",
            delay.percentage,
            duration::text(delay.fixed)
        ));
    }
    if let Some(abort) = &details.fault.abort {
        lines.push(format!("{}% are answered with {}", abort.percentage, abort.status));
    }
    for mirror in &details.mirror {
        lines.push(format!(
            "{}% are copied to {}:{}",
            mirror.percentage, mirror.host, mirror.port
        ));
    }
    lines.extend(changes("request", &details.request_headers));
    lines.extend(changes("response", &details.response_headers));
    lines
}

fn changes(of: &str, changes: &HeaderChanges) -> Option<String> {
    let mut text = String::new();
    for (name, value) in &changes.set {
        let _ = write!(text, " set {name}: {value};");
    }
    for (name, value) in &changes.add {
        let _ = write!(text, " add {name}: {value};");
    }
    for name in &changes.remove {
        let _ = write!(text, " remove {name};");
    }
    (!text.is_empty()).then(|| format!("{of} headers:{}", text.trim_end_matches(';')))
}
