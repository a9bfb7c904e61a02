//! When to save: changes that come in quick succession are saved once, off the runtime's thread.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use weft_xds::{Resource, TypeUrl};

use super::state_file::{Contents, StateFile};

/// No two saves start within this time.
const PAUSE: Duration = Duration::from_secs(1);

/// Saves accepted resources; does nothing when there is no file to keep.
pub(super) struct Saver {
    file: Option<StateFile>,
    dirty_since: Option<Instant>,
    last: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl Saver {
    pub(super) fn new(file: Option<StateFile>) -> Self {
        Self {
            file,
            dirty_since: None,
            last: None,
            running: None,
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

    /// Something is to be saved.
    pub(super) fn changed(&mut self) {
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// When [`Saver::poll`] has work to do: soon after a change, later after a save; never, if nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let earliest = self.last.map_or(self.dirty_since, |last| Some(last + PAUSE))?;
        (self.dirty_since.is_some() && self.file.is_some()).then_some(earliest)
    }

    /// Starts a save if one is due, after the one before has ended.
    pub(super) async fn poll(&mut self, accepted: &BTreeMap<TypeUrl, BTreeMap<String, Resource>>) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.wait().await;
            self.start(accepted);
        }
    }

    /// Saves what is still unsaved, and waits for it.
    pub(super) async fn finish(&mut self, accepted: &BTreeMap<TypeUrl, BTreeMap<String, Resource>>) {
        self.wait().await;
        if self.dirty_since.is_some() {
            self.start(accepted);
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(error) = running.await
        {
            tracing::error!(%error, "saving the state file failed");
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
        self.running = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = file.save(&contents) {
                tracing::warn!(path = %file.path().display(), %error, "state file not saved");
            }
        }));
    }
}
