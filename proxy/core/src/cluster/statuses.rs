use std::fmt;

const FIRST: u16 = 100;
const LAST: u16 = 599;

/// A set of HTTP statuses, of those from 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statuses([u64; 8]);

impl Statuses {
    /// All from 500 to 599.
    pub const SERVER_ERRORS: Self = {
        let mut set = Self([0; 8]);
        let mut status = 500;
        while status <= LAST {
            set.insert(status);
            status += 1;
        }
        set
    };

    /// All that `belongs` says.
    pub fn of(belongs: impl Fn(u16) -> bool) -> Self {
        let mut set = Self([0; 8]);
        (FIRST..=LAST)
            .filter(|status| belongs(*status))
            .for_each(|status| set.insert(status));
        set
    }

    /// Whether it is one of them.
    pub fn contains(&self, status: u16) -> bool {
        (FIRST..=LAST).contains(&status) && self.0[Self::word(status)] & Self::bit(status) != 0
    }

    const fn insert(&mut self, status: u16) {
        self.0[Self::word(status)] |= Self::bit(status);
    }

    // The 500 statuses have room in 8 words of 64.

    const fn word(status: u16) -> usize {
        ((status - FIRST) / 64) as usize
    }

    const fn bit(status: u16) -> u64 {
        1 << ((status - FIRST) % 64)
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries((FIRST..=LAST).filter(|status| self.contains(*status)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_said_and_nothing_beyond_its_ends() {
        let ends = Statuses::of(|status| [100, 163, 164, 429, 599].contains(&status));
        for status in 0..=1023 {
            assert_eq!(
                ends.contains(status),
                [100, 163, 164, 429, 599].contains(&status),
                "{status}"
            );
            assert_eq!(
                Statuses::SERVER_ERRORS.contains(status),
                (500..=599).contains(&status),
                "{status}"
            );
        }
        assert_eq!(Statuses::of(|status| status >= 500), Statuses::SERVER_ERRORS);
    }
}
