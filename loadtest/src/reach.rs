//! in → out: a scenario's origins → whether each can be reached, or one line that says why not.
//! owns: the connection before the run.
//! may not touch: requests.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::app::Refusal;
use crate::client::connect::{Unreached, connect};
use crate::client::timer::Timer;
use crate::client::{Failure, Kind, Phase};
use crate::clock;
use crate::exit::Exit;
use crate::scenario::{Origin, Protocol, Scenario};

/// What helps where a server refuses a client.
pub(crate) const PRESENT: &str = "; --cert and --key present a certificate";
/// How long a server is given to refuse our certificate: in TLS 1.3 it does so after the handshake (RFC 8446 4.4.2.4).
const SECOND_THOUGHTS: Duration = Duration::from_millis(150);
/// Addresses that a line about a host names.
const NAMED_MAX: usize = 4;

/// Connects to every origin once, so that a target that is not there costs one line and no run.
pub(crate) async fn reach(scenario: &Scenario) -> Result<(), Refusal> {
    for origin in &scenario.origins {
        within(scenario.timeout, origin)
            .await
            .map_err(|unreached| line(origin, scenario.protocol, &unreached))?;
    }
    Ok(())
}

/// Reaches an origin, or says in which phase the time ran out.
async fn within(limit: Duration, origin: &Origin) -> Result<(), Unreached> {
    let timer = Timer::new();
    let mut reached = std::pin::pin!(reach_one(origin, &timer));
    // Cancel safe: the attempt is only polled, and ends itself once its time is up.
    tokio::select! {
        done = reached.as_mut() => return done,
        () = tokio::time::sleep(limit) => {}
    }
    let now = clock::now();
    timer.start(now);
    timer.sweep(now);
    reached.await
}

async fn reach_one(origin: &Origin, timer: &Timer) -> Result<(), Unreached> {
    let mut stream = connect(origin, 0, timer).await?;
    if origin.tls.is_none() {
        return Ok(());
    }
    let mut byte = [0];
    match tokio::time::timeout(SECOND_THOUGHTS, stream.read(&mut byte)).await {
        // A server that speaks first, as HTTP/2 servers do, or that tires of a silent client, has let us in.
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(cause)) => {
            let failure = Failure::of_io(Phase::Tls, &cause);
            // A reset without a word says nothing about TLS; the run will show what it means.
            if failure.kind == Kind::Rejected {
                Err(Unreached {
                    failure,
                    cause: Some(cause),
                })
            } else {
                Ok(())
            }
        }
    }
}

fn line(origin: &Origin, protocol: Protocol, unreached: &Unreached) -> Refusal {
    let named = origin.addresses.iter().take(NAMED_MAX);
    let mut addresses: Vec<String> = named.map(|address| address.ip().to_string()).collect();
    if origin.addresses.len() > NAMED_MAX {
        addresses.push("…".to_owned());
    }
    let place = format!("{}:{} ({})", origin.host, origin.port, addresses.join(", "));
    let cause = unreached.cause.as_ref().map(ToString::to_string);
    let cause = cause.as_deref().and_then(|cause| cause.lines().next());
    let cause = cause.unwrap_or(unreached.failure.kind.name());
    match (unreached.failure.phase, unreached.failure.kind) {
        (Phase::Tls, Kind::Protocol) => (
            Exit::Tls,
            format!(
                "{place}: TLS failed: {cause}: the target does not speak TLS, or not {}",
                protocol.name()
            ),
        ),
        (Phase::Tls, Kind::Rejected) => (
            Exit::Tls,
            format!("{place}: TLS failed: the target refused us: {cause}{PRESENT}"),
        ),
        (Phase::Tls, _) => (Exit::Tls, format!("{place}: TLS failed: {cause}")),
        _ => (Exit::Connect, format!("{place}: cannot connect: {cause}")),
    }
}
