use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::split::{SplitKey, SplitState};

/// How many distinct cluster names a proxy can ever have seen: 2^20 is more than any mesh, and bounds what a peer can grow.
pub const CLUSTER_SLOTS_MAX: u32 = 1 << 20;

/// A cluster as a route names it: the name for people, the slot for the request path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRef {
    /// The name.
    pub name: Arc<str>,
    /// Its place in a snapshot's cluster table. Never renumbered, never given to another name.
    pub slot: u32,
}

/// What outlives route tables and is found by name while one is compiled: slots of clusters, state of weighted splits.
///
/// One writer owns it (the main thread of a proxy, or a simulation); a request never sees it.
#[derive(Debug)]
pub struct Bindings {
    slots: HashMap<Arc<str>, u32, FxBuildHasher>,
    splits: HashMap<SplitKey, Arc<SplitState>, FxBuildHasher>,
    seed: u64,
}

/// Nothing more can be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The proxy has met [`CLUSTER_SLOTS_MAX`] cluster names.
    #[error("more than {CLUSTER_SLOTS_MAX} cluster names")]
    SlotsExhausted,
}

impl Bindings {
    /// Empty bindings; the seed decides where each weighted split starts.
    pub fn new(seed: u64) -> Self {
        Self {
            slots: HashMap::default(),
            splits: HashMap::default(),
            seed,
        }
    }

    /// The slot of a name, given out on first use.
    ///
    /// # Errors
    /// When all slots are taken.
    pub fn cluster(&mut self, name: &str) -> Result<ClusterRef, BindError> {
        if let Some((name, slot)) = self.slots.get_key_value(name) {
            return Ok(ClusterRef {
                name: name.clone(),
                slot: *slot,
            });
        }
        let slot = u32::try_from(self.slots.len())
            .ok()
            .filter(|slot| *slot < CLUSTER_SLOTS_MAX);
        let slot = slot.ok_or(BindError::SlotsExhausted)?;
        let name: Arc<str> = name.into();
        self.slots.insert(name.clone(), slot);
        Ok(ClusterRef { name, slot })
    }

    /// How many slots have been given out: every slot is below this.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The state of a split: the same one for as long as any table uses it.
    pub fn split(&mut self, key: &SplitKey) -> Arc<SplitState> {
        if let Some(state) = self.splits.get(key) {
            return state.clone();
        }
        let mut hasher = FxBuildHasher.build_hasher();
        std::hash::Hash::hash(key, &mut hasher);
        let state = Arc::new(SplitState::starting_at(mix(hasher.finish() ^ self.seed)));
        self.splits.insert(key.clone(), state.clone());
        state
    }

    /// Forgets splits that no table uses any more. To be called after old tables have been let go.
    pub fn sweep(&mut self) {
        self.splits.retain(|_, state| Arc::strong_count(state) > 1);
    }
}

/// SplitMix64's finisher: spreads a hash over all bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
