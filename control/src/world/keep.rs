//! The loop of the single writer: batches of a source in, worlds out.

use std::sync::Arc;

use tokio::sync::watch;

use super::{World, Writer};
use crate::status::Board;
use crate::telemetry::Metrics;
use crate::watch::{Event, FileSource};

/// Publishes the world of `first` and then of every batch of `source`, for ever. Dropping the future stops it.
///
/// Readers of the channel see the newest world only; whoever needs to know what changed keeps the world it has seen
/// and asks [`super::Changes::between`].
pub async fn keep(
    mut source: FileSource,
    first: Vec<Event>,
    worlds: watch::Sender<Arc<World>>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
) {
    let mut writer = Writer::default();
    let mut events = source.confirm(first).await;
    loop {
        metrics.batch();
        let verdicts = writer.apply(events);
        let published = writer.publish();
        let generation = published
            .as_ref()
            .map_or_else(|| worlds.borrow().generation, |world| world.generation);
        // The status knows of a world before any proxy can acknowledge it.
        board.record(verdicts, generation);
        if let Some(world) = published {
            worlds.send_replace(world);
        }
        events = source.next().await;
    }
}
