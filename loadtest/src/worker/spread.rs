//! How connections are spread over threads.
//!
//! A connection stays with its thread, so a send may wait for a lane of its own thread while another thread's is idle. Sends
//! are dealt out in proportion to lanes, which leaves chance: with random arrivals or times of service, few lanes a thread
//! make waits that the same lanes together would not. So an open loop takes no more threads than give each enough lanes.

/// Lanes that a thread of an open loop has at least, unless `--threads` says otherwise.
const LANES_MIN: usize = 16;

/// Threads where nobody asks for a number: as many as processors, with enough lanes each, and rather half as many as some
/// with more connections than others.
pub(crate) fn threads(processors: usize, connections: usize, streams: usize, open_loop: bool) -> usize {
    let by_lanes = if open_loop {
        (connections * streams / LANES_MIN).max(1)
    } else {
        connections
    };
    let most = processors.min(connections).min(by_lanes).max(1);
    let even = (most.div_ceil(2)..=most)
        .rev()
        .find(|count| connections.is_multiple_of(*count));
    even.unwrap_or(most)
}

/// Connections of each thread, the first having one more where they do not come out even.
pub(crate) fn spread(connections: usize, threads: usize) -> Vec<usize> {
    (0..threads)
        .map(|index| connections / threads + usize::from(index < connections % threads))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_many_as_have_lanes_enough_and_evenly_so_where_that_costs_no_more_than_half() {
        for (processors, connections, streams, open_loop, wanted) in [
            (2, 64, 1, true, 2),
            (2, 3, 1, true, 1),
            (8, 64, 1, true, 4),
            (64, 64, 1, true, 4),
            (2, 3, 1, false, 1),
            (8, 64, 1, false, 8),
            (64, 10, 1, false, 10),
            (8, 2, 100, true, 2),
            (64, 1009, 1, true, 63),
            (6, 100, 1, true, 5),
            (1, 1, 1, true, 1),
        ] {
            let found = threads(processors, connections, streams, open_loop);
            assert_eq!(found, wanted, "{processors} {connections} {streams} {open_loop}");
        }
        assert_eq!(spread(5, 3), [2, 2, 1]);
    }
}
