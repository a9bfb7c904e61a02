//! The flags of the scripted upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::Args;

use super::behaviour::{Behaviour, Field, RawBehaviour};
use crate::flags::FlagError;

/// The flags of `serve`, as typed.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address of the service; port 0 asks for any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Address of the admin port: GET /ledger, POST /ledger/clear, GET and PUT /behaviour.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) admin: SocketAddr,
    /// What the echo calls itself.
    #[arg(long, value_name = "NAME", default_value = "upstream")]
    pub(super) name: String,
    /// Echo bytes of TCP, and speak no HTTP.
    #[arg(long)]
    pub(super) tcp: bool,
    /// Time until a response: 10ms, 'uniform 1ms..20ms' or 'exponential 10ms'.
    #[arg(long, value_name = "LATENCY")]
    latency: Option<String>,
    /// Share of a status, such as 503=10; may be given several times.
    #[arg(long = "status", value_name = "STATUS=WEIGHT")]
    statuses: Vec<String>,
    /// Bytes of filler behind the echo.
    #[arg(long, value_name = "N", default_value_t = 0)]
    body_bytes: usize,
    /// Bytes of a body a second; 0 at once.
    #[arg(long, value_name = "N", default_value_t = 0)]
    body_rate: u64,
    /// Percent of requests that are reset.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    resets: f64,
    /// Percent of responses that end in the middle.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    early_closes: f64,
    /// Requests after which a connection is closed (HTTP/2: GOAWAY); 0 never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    requests_per_connection: u64,
    /// Answer nothing for a while, again and again: '100ms every 1s'.
    #[arg(long, value_name = "STALL")]
    stall: Option<String>,
    /// Start of the random numbers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

impl ServeArgs {
    /// What it does at first.
    ///
    /// # Errors
    /// The flag, where it makes no sense.
    pub(crate) fn behaviour(&self) -> Result<Behaviour, FlagError> {
        let mut statuses = BTreeMap::new();
        for text in &self.statuses {
            let pair = text.split_once('=');
            let pair =
                pair.and_then(|(status, weight)| Some((status.parse::<u16>().ok()?, weight.parse::<u32>().ok()?)));
            let (status, weight) =
                pair.ok_or_else(|| FlagError::value("--status", text, "must be STATUS=WEIGHT, for example 503=10"))?;
            statuses.insert(status, weight);
        }
        let raw = RawBehaviour {
            latency: self.latency.clone(),
            statuses,
            body_bytes: self.body_bytes,
            body_rate: self.body_rate,
            resets: self.resets,
            early_closes: self.early_closes,
            requests_per_connection: self.requests_per_connection,
            refuse: false,
            stall: self.stall.clone(),
        };
        if self.tcp && !raw.is_of_connections_alone() {
            return Err(FlagError::Contradiction {
                flag: "--tcp",
                wanted: "gives bytes back as they come: it has no latency, statuses, bodies, resets or stalls",
            });
        }
        raw.resolve()
            .map_err(|error| FlagError::value(flag(error.field), &error.value, error.wanted))
    }
}

fn flag(field: Field) -> &'static str {
    match field {
        Field::Latency => "--latency",
        Field::Statuses => "--status",
        Field::BodyBytes => "--body-bytes",
        Field::Resets => "--resets",
        Field::EarlyCloses => "--early-closes",
        Field::Stall => "--stall",
    }
}
