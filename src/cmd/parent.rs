//! Processes that do not outlive the one that started them.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Process whose end is the end of this one
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
    /// End at once then, even while stopped, instead of in order
    #[arg(long, hide = true, requires = "parent")]
    at_once: bool,
}

impl Args {
    /// Asks the kernel to end this process with its parent; `false` where the parent has ended already.
    pub(crate) fn bind(&self) -> bool {
        let Some(parent) = self.parent.and_then(Pid::from_raw) else {
            return true;
        };
        // A process that is stopped gets no other signal than this before it goes on.
        let signal = if self.at_once { Signal::KILL } else { Signal::TERM };
        let bound = set_parent_process_death_signal(Some(signal));
        // The parent may have died before the kernel was asked: then another process has taken its place.
        bound.is_ok() && getppid() == Some(parent)
    }
}
