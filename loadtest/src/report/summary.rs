use crate::flags::Settings;
use crate::tally::Tally;

/// A whole run.
pub(crate) struct Summary {
    pub(crate) settings: Settings,
    pub(crate) tally: Tally,
    pub(crate) cpu: u64,
    pub(crate) held_up: u64,
    pub(crate) elapsed: u64,
}
