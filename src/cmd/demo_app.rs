//! `weft demo-app`: one application of the demo, as a process of its own.

use std::net::SocketAddr;
use std::process::ExitCode;

use weft_bookinfo::pods::Pod;
use weft_loadtest::print::complain;

use super::parent;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Name of its pod
    #[arg(value_name = "POD", value_parser = pod)]
    pod: Pod,
    /// HTTP proxy through which it reaches the others
    #[arg(long, value_name = "ADDR")]
    http_proxy: SocketAddr,
    #[command(flatten)]
    parent: parent::Args,
}

fn pod(name: &str) -> Result<Pod, String> {
    Pod::named(name).ok_or_else(|| "there is no such pod in the demo".to_owned())
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if !args.parent.bind() {
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let listener = weft_bookinfo::bind(args.pod).await?;
            weft_bookinfo::serve(listener, args.pod, args.http_proxy).await;
            Ok(())
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let program = format!("weft demo-app {}", args.pod.name);
            complain(&program, &format!("{}: {error}", args.pod.application()));
            ExitCode::FAILURE
        }
    }
}
