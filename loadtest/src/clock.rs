//! in → out: the kernel's monotonic clock and its books on a thread → nanoseconds; a wait until one of them.
//! owns: pacing below a millisecond: a timerfd, since the runtime's timer counts in whole milliseconds.
//! may not touch: what is waited for.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Processor time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Nanoseconds of a length of time; of one that is too long for that, the most that can be told.
pub(crate) fn nanoseconds_of(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Bytes of the kernel's line on a thread: three numbers.
const SCHEDSTAT_BYTES: usize = 128;

/// How long the calling thread has waited for a processor although it could have run, by the kernel's own books
/// (`Documentation/scheduler/sched-stats.rst`, `/proc/<pid>/schedstat`).
pub(crate) struct RunQueue(Option<File>);

impl RunQueue {
    /// Of the calling thread: the file stays that thread's, whoever reads it.
    pub(crate) fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// Nanoseconds since the thread's start; `None` where the kernel keeps no such books.
    pub(crate) fn waited_ns(&self) -> Option<u64> {
        let mut bytes = [0; SCHEDSTAT_BYTES];
        let length = self.0.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// Wakes its thread at an instant, with the precision of the kernel's timers.
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// A timer of the current runtime.
    ///
    /// # Errors
    /// Of the kernel: too many open files.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor that nobody else closes meets its condition"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer })
    }

    /// Resolves when the clock has reached `at`; at once if it has already.
    ///
    /// # Errors
    /// Of the kernel; none is known for a timer that exists.
    pub(crate) async fn until(&self, at: u64) -> io::Result<()> {
        if now() >= at {
            return Ok(());
        }
        let when = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: (at / SECOND) as i64,
                tv_nsec: (at % SECOND) as i64,
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &when)?;
        while now() < at {
            let mut ready = self.timer.readable().await?;
            let mut fired = [0u8; 8];
            // A timer that was set anew meanwhile has nothing to read; the clock alone decides.
            if rustix::io::read(self.timer.get_ref(), &mut fired).is_err() {
                ready.clear_ready();
            }
        }
        Ok(())
    }
}
