//! Tables by which keys choose endpoints, kept for as long as they hold.

use std::sync::Arc;

use arc_swap::ArcSwap;
use weft_proxy_core::balance::{HashChoice, HashedTable, Load};
use weft_proxy_core::cluster::EndpointSet;

/// Tables of one set of endpoints at a time: one for each priority in use, and for who is out. Older ones are forgotten.
const TABLES_MAX: usize = 8;

/// The tables of one set of endpoints.
#[derive(Debug, Default)]
pub(crate) struct HashedTables(ArcSwap<Vec<(u64, Arc<HashedTable>)>>);

impl HashedTables {
    /// The table of a choice. Only the first to need one after an endpoint was ejected or came back builds it; the one for a
    /// new set is built with the set.
    pub(super) fn table(&self, choice: &HashChoice, set: &EndpointSet, load: &impl Load) -> Arc<HashedTable> {
        let key = choice.key();
        let known = self.0.load();
        if let Some((_, table)) = known.iter().find(|(one, _)| *one == key) {
            return table.clone();
        }
        let table = Arc::new(choice.build(set, load));
        self.0.rcu(|known| {
            let kept = known.iter().filter(|(one, _)| *one != key).take(TABLES_MAX - 1);
            let mut tables = vec![(key, table.clone())];
            tables.extend(kept.cloned());
            tables
        });
        table
    }
}
