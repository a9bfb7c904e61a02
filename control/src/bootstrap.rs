//! What is settled before anything starts: flags → checked settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Port of xDS in plain text (Istio's).
pub const XDS_PORT: u16 = 15010;
/// Port of metrics and debug pages (Istio's).
pub const ADMIN_PORT: u16 = 15014;

/// The flags of the control plane.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of YAML files with the objects of the mesh; watched for changes
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Folder for last good objects, and in standalone for what gateways accepted: both outlive a restart
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address on which proxies are served, in plain text
    #[arg(long, value_name = "ADDR", default_value_t = loopback(XDS_PORT))]
    pub xds: SocketAddr,
    /// Address of metrics and debug pages
    #[arg(long, value_name = "ADDR", default_value_t = loopback(ADMIN_PORT))]
    pub admin: SocketAddr,
}

/// Checked settings of a control plane.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where objects come from.
    pub config: PathBuf,
    /// Where last good objects are kept.
    pub state_dir: Option<PathBuf>,
    /// Where proxies are served.
    pub xds: SocketAddr,
    /// Where operators ask.
    pub admin: SocketAddr,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Two listeners on one port.
    #[error("--xds and --admin are both {0}")]
    SamePort(SocketAddr),
}

impl Bootstrap {
    /// Checks flags.
    ///
    /// # Errors
    /// If two settings exclude each other.
    pub fn resolve(args: Args) -> Result<Self, BootstrapError> {
        if args.xds == args.admin && args.xds.port() != 0 {
            return Err(BootstrapError::SamePort(args.xds));
        }
        Ok(Self {
            config: args.config,
            state_dir: args.state_dir,
            xds: args.xds,
            admin: args.admin,
        })
    }
}

/// Sends the log to standard error, one line an event: `info` and above, unless `RUST_LOG` says otherwise.
/// A log that is set up already stays as it is.
pub fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    // An error means that somebody was here before.
    _ = log.try_init();
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
