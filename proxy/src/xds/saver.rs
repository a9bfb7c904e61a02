//! When to save: changes that come in quick succession are saved once, off the runtime's thread.

use std::collections::BTreeMap;
use std::mem;

use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use weft_xds::{Resource, TypeUrl};

use super::state_file::{Contents, StateFile, StateFileError};

/// No two saves start within this time.
const PAUSE: Duration = Duration::from_secs(1);
/// A save that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// Saves accepted resources; does nothing when there is no file to keep.
pub(super) struct Saver {
    file: Option<StateFile>,
    /// What is accepted is a configuration, not the beginning of one.
    is_whole: bool,
    dirty_since: Option<Instant>,
    last: Option<Instant>,
    running: Option<JoinHandle<Result<(), StateFileError>>>,
    /// The last save failed for this reason; empty if it did not.
    failure: String,
}

impl Saver {
    pub(super) fn new(file: Option<StateFile>) -> Self {
        Self {
            file,
            is_whole: false,
            dirty_since: None,
            last: None,
            running: None,
            failure: String::new(),
        }
    }

    /// What an earlier run left. A file that is of no use is one line in the log.
    pub(super) fn load(&self) -> Option<Contents> {
        let file = self.file.as_ref()?;
        match file.load() {
            Ok(contents) => contents,
            Err(error) => {
                tracing::warn!(path = %file.path().display(), %error, "state file not used");
                None
            }
        }
    }

    /// From now on what is accepted may take the place of what is on disk. Before, a proxy that is killed while it starts would
    /// leave a part of its configuration, and start from that part the next time.
    pub(super) fn whole(&mut self) {
        self.is_whole = true;
    }

    /// What is accepted is what the file says: it came from there.
    pub(super) fn restored(&mut self) {
        self.whole();
        self.dirty_since = None;
    }

    /// Something is to be saved.
    pub(super) fn changed(&mut self) {
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// When [`Saver::poll`] has work to do: soon after a change, later after a save, of which it then looks what became; never, if
    /// nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.file.as_ref().filter(|_| self.is_whole)?;
        let pause = if self.failure.is_empty() { PAUSE } else { RETRY };
        let earliest = self.last.map_or(self.dirty_since, |last| Some(last + pause))?;
        (self.dirty_since.is_some() || self.running.is_some()).then_some(earliest)
    }

    /// Starts a save if one is due, after the one before has ended.
    pub(super) async fn poll(&mut self, accepted: &BTreeMap<TypeUrl, BTreeMap<String, Resource>>) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.wait().await;
            if self.dirty_since.is_some() {
                self.start(accepted);
            }
        }
    }

    /// Saves what is still unsaved, and waits for it.
    pub(super) async fn finish(&mut self, accepted: &BTreeMap<TypeUrl, BTreeMap<String, Resource>>) {
        self.wait().await;
        if self.is_whole && self.dirty_since.is_some() {
            self.start(accepted);
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        let Some(running) = self.running.take() else { return };
        let failure = match running.await {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if !failure.is_empty() {
            self.changed();
        }
        let before = mem::replace(&mut self.failure, failure);
        // Once per reason, however often it is tried.
        if before != self.failure
            && let Some(file) = &self.file
        {
            let path = file.path().display();
            match self.failure.as_str() {
                "" => tracing::info!(%path, "state file saved again"),
                error => {
                    tracing::warn!(%path, error, "state file not saved; a restart without the control plane would find the one before")
                }
            }
        }
    }

    fn start(&mut self, accepted: &BTreeMap<TypeUrl, BTreeMap<String, Resource>>) {
        let Some(file) = self.file.clone() else { return };
        let contents: Contents = accepted
            .iter()
            .map(|(kind, resources)| (*kind, resources.values().cloned().collect()))
            .collect();
        self.dirty_since = None;
        self.last = Some(Instant::now());
        self.running = Some(tokio::task::spawn_blocking(move || file.save(&contents)));
    }
}

#[cfg(test)]
mod tests {
    use weft_xds::Any;

    use super::*;

    fn accepted(kinds: &[TypeUrl]) -> BTreeMap<TypeUrl, BTreeMap<String, Resource>> {
        let one = Resource::from_any("one", Any::default());
        let by_name = || BTreeMap::from([("one".to_owned(), one.clone())]);
        kinds.iter().map(|kind| (*kind, by_name())).collect()
    }

    fn on_disk(file: &StateFile) -> Option<Vec<TypeUrl>> {
        Some(file.load().unwrap()?.into_keys().collect())
    }

    #[tokio::test]
    async fn nothing_is_saved_before_what_is_accepted_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "n");
        let (part, all) = (
            accepted(&[TypeUrl::Cluster]),
            accepted(&[TypeUrl::Cluster, TypeUrl::Listener]),
        );
        let mut saver = Saver::new(Some(file.clone()));
        saver.changed();
        assert_eq!(saver.due(), None);
        saver.poll(&part).await;
        saver.finish(&part).await;
        assert_eq!(on_disk(&file), None, "a beginning is no state");

        saver.whole();
        assert!(saver.due().is_some());
        saver.poll(&all).await;
        saver.wait().await;
        let whole = Some(vec![TypeUrl::Cluster, TypeUrl::Listener]);
        assert_eq!(on_disk(&file), whole);

        // The next process gets as far as its clusters, and ends.
        let mut saver = Saver::new(Some(file.clone()));
        saver.changed();
        saver.finish(&part).await;
        assert_eq!(on_disk(&file), whole);
    }

    #[tokio::test]
    async fn what_came_from_disk_is_not_written_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "n");
        let mut saver = Saver::new(Some(file.clone()));
        saver.changed();
        saver.restored();
        assert_eq!(saver.due(), None);
        saver.finish(&accepted(&[])).await;
        assert_eq!(on_disk(&file), None);
        saver.changed();
        assert!(saver.due().is_some(), "what comes later is");
    }
}
