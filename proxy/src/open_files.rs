//! in → out: the process's limit on open files → how many clients it may serve without starving its own upstreams.
//! owns: that limit.
//! may not touch: sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, as the soft one is often 1024 for the sake of programs that use `select`, and
/// returns how many connections of clients fit: half, since each may need one to an upstream. Clients that held every
/// descriptor would turn all requests, their own too, into failures to connect.
pub(crate) fn connections_max(asked: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_refused) => limit.current,
    };
    share(asked, current)
}

/// What is left of `asked` where the process may have that many open files; `None` is no limit.
fn share(asked: usize, open_files: Option<u64>) -> usize {
    let half = open_files.map_or(usize::MAX, |open| usize::try_from(open / 2).unwrap_or(usize::MAX));
    asked.min(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_at_the_most_half_of_the_open_files() {
        assert_eq!(share(100_000, Some(256)), 128);
        assert_eq!(share(100, Some(256)), 100);
        assert_eq!(share(100_000, None), 100_000);
    }
}
