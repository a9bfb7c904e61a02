//! Numbers with a fraction that can be compared and hashed, so that they may stand in cache keys.

use std::hash::{Hash, Hasher};

/// A share of 100 %, in steps of 0.0001 % (Istio's and Envoy's finest resolution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent {
    millionths: u32,
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self { millionths: 0 };
    /// Everything.
    pub const HUNDRED: Self = Self { millionths: 1_000_000 };

    /// From a number of percent; `None` outside 0..=100. Finer digits are rounded to the nearest step.
    pub fn new(percent: f64) -> Option<Self> {
        // The cast is exact: the product is between 0 and a million.
        (0.0..=100.0).contains(&percent).then(|| Self {
            millionths: (percent * 10_000.0).round() as u32,
        })
    }

    /// Parts per million, the unit of Envoy's `FractionalPercent` with denominator MILLION.
    pub fn millionths(self) -> u32 {
        self.millionths
    }

    /// As a number of percent, 0..=100.
    pub fn percent(self) -> f64 {
        f64::from(self.millionths) / 10_000.0
    }
}

/// A finite floating-point number. Not a NaN, hence equality is total and hashing is sound.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Finite(f64);

impl Finite {
    /// `None` for NaN and infinities.
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero turns -0 into 0, which keeps equal values equal in their bits.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Finite {}

impl Hash for Finite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}
