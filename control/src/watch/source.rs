//! When to look at which file: the kernel's notices, a second look where one is needed, and surveys that find
//! whatever no notice told of.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::directory::Directory;
use super::{Event, tree};

/// How long a file that has lost objects, become empty or disappeared is doubted. Editors and `cat new > file` are
/// done within it; an operator who means it does not notice it.
pub const SECOND_LOOK_AFTER: Duration = Duration::from_millis(150);

/// The same for a file that holds nothing at all: `generate > rules.yaml` empties it first and may think for a while,
/// and who means it is served as well by removing the file.
pub const SECOND_LOOK_AT_EMPTY_AFTER: Duration = Duration::from_secs(3);

/// How often the whole directory is surveyed for changes that no notice told of (network file systems, links to
/// elsewhere, a lost notice). A survey reads no file that looks the same.
pub const SURVEY_EVERY: Duration = Duration::from_secs(2);

/// The same where the kernel gives no notices at all.
pub const SURVEY_EVERY_WITHOUT_NOTICES: Duration = Duration::from_millis(250);

/// Notices that may wait. Beyond it one survey stands for all of them.
const NOTICES_MAX: usize = 4096;

/// A directory of object files as a source of events.
pub struct FileSource {
    directory: Directory,
    notices: mpsc::Receiver<Notice>,
    overflow: Arc<AtomicBool>,
    /// `None`: the kernel gives no notices, and surveys have to do.
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of the directory that is watched.
    watched: Option<(u64, u64)>,
    second_looks: BTreeMap<PathBuf, Instant>,
    next_survey: Instant,
}

/// Something that the kernel told of.
#[derive(Debug)]
enum Notice {
    /// This file was closed after writing, put in place, linked or removed.
    File(PathBuf),
    /// Anything may have changed.
    Survey,
}

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing at this path.
    #[error("configuration directory {0} does not exist")]
    Missing(PathBuf),
    /// It is not a directory.
    #[error("configuration directory {0} is not a directory")]
    NoDirectory(PathBuf),
    /// It does not open.
    #[error("configuration directory {path} cannot be read")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl FileSource {
    /// Opens a directory and reads it. Returns the source and the first batch, which begins with a reset.
    ///
    /// # Errors
    /// If there is no such directory or it cannot be read.
    pub fn open(root: PathBuf) -> Result<(Self, Vec<Event>), OpenError> {
        Self::open_with(root, None)
    }

    /// As [`FileSource::open`], with a folder in which the last good objects outlive this process: a file that is broken when the
    /// next one starts keeps them.
    ///
    /// # Errors
    /// As [`FileSource::open`].
    pub fn open_with(root: PathBuf, state_dir: Option<&Path>) -> Result<(Self, Vec<Event>), OpenError> {
        match fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(OpenError::NoDirectory(root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing(root)),
            Err(source) => return Err(OpenError::Unreadable { path: root, source }),
        }
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        let overflow = Arc::new(AtomicBool::new(false));
        // Notices are on before the first read, so that no change falls between the two.
        let watcher = start(&root, sender, overflow.clone());
        let watched = identity(&root);
        let mut directory = Directory::new(root.clone(), state_dir);
        let events = directory
            .read_all()
            .map_err(|source| OpenError::Unreadable { path: root, source })?;
        let next_survey = Instant::now() + SURVEY_EVERY;
        let second_looks = BTreeMap::new();
        Ok((
            Self {
                directory,
                notices,
                overflow,
                watcher,
                watched,
                second_looks,
                next_survey,
            },
            events,
        ))
    }

    /// The first batch, looked at once more where a file is empty or broken: nothing is known yet that such a file
    /// could keep, and proxies that were served before would unlearn what it is about to say again.
    pub async fn confirm(&mut self, mut first: Vec<Event>) -> Vec<Event> {
        if self.directory.is_unfinished() {
            sleep_until(Instant::now() + SECOND_LOOK_AFTER).await;
            match self.directory.read_all() {
                Ok(again) => first.extend(again),
                Err(error) => warn!(
                    "configuration directory {} cannot be read: {error}",
                    self.directory.root().display()
                ),
            }
        }
        first
    }

    /// The next batch of events; never empty. Cancel safe: nothing is taken in before the batch is complete.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            // What the batch of before brought is published by now.
            self.directory.save(Instant::now());
            let wake = self
                .second_looks
                .values()
                .copied()
                .chain([self.next_survey])
                .chain(self.directory.save_due())
                .min()
                .unwrap_or(self.next_survey);
            // Cancel safe: a notice that was received is acted upon before the next await.
            let first = tokio::select! {
                notice = self.notices.recv(), if self.watcher.is_some() => notice,
                () = sleep_until(wake) => None,
            };
            let events = self.act(first);
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// Looks at whatever is due now.
    fn act(&mut self, first: Option<Notice>) -> Vec<Event> {
        let now = Instant::now();
        let (mut paths, mut survey) = (BTreeSet::new(), self.next_survey <= now);
        let rest = std::iter::from_fn(|| self.notices.try_recv().ok());
        for notice in first.into_iter().chain(rest) {
            match notice {
                Notice::File(path) => _ = paths.insert(path),
                Notice::Survey => survey = true,
            }
        }
        // Relaxed: the flag carries no data, the survey reads the directory itself.
        survey |= self.overflow.swap(false, Ordering::Relaxed);
        let due: BTreeSet<_> = self
            .second_looks
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(path, _)| path.clone())
            .collect();
        paths.extend(due.iter().cloned());
        let mut events = Vec::new();
        if survey {
            self.survey(now, &mut paths, &mut events);
        }
        for path in paths {
            let looked = self.directory.look(&path, due.contains(&path));
            events.extend(looked.events);
            match looked.again_after {
                Some(wait) => self.second_looks.insert(path, now + wait),
                None => self.second_looks.remove(&path),
            };
        }
        events
    }

    fn survey(&mut self, now: Instant, paths: &mut BTreeSet<PathBuf>, events: &mut Vec<Event>) {
        self.next_survey = now
            + if self.watcher.is_some() {
                SURVEY_EVERY
            } else {
                SURVEY_EVERY_WITHOUT_NOTICES
            };
        match self.directory.survey() {
            Ok((changed, said)) => {
                paths.extend(changed);
                events.extend(said);
            }
            // A directory that is away takes nothing with it: what it said last stays in force.
            Err(error) => warn!(
                "configuration directory {} cannot be read: {error}",
                self.directory.root().display()
            ),
        }
        self.watch_again();
    }

    /// Follows the path to a directory that has taken the place of the one that is watched.
    fn watch_again(&mut self) {
        let found = identity(self.directory.root());
        if found.is_none() || found == self.watched {
            return;
        }
        self.watched = found;
        let Some(watcher) = &mut self.watcher else { return };
        let root = absolute(self.directory.root());
        // The old watch went with its directory; that there is none to remove is expected.
        _ = watcher.unwatch(&root);
        if let Err(error) = watcher.watch(&root, RecursiveMode::Recursive) {
            warn!(
                "no change notices for {}: {error}; looking every {SURVEY_EVERY_WITHOUT_NOTICES:?}",
                root.display()
            );
            self.watcher = None;
        }
    }
}

/// Asks the kernel for notices; `None`, with one line, where it gives none.
fn start(root: &Path, sender: mpsc::Sender<Notice>, overflow: Arc<AtomicBool>) -> Option<RecommendedWatcher> {
    let (given, watched) = (root.to_owned(), absolute(root));
    let handler = move |event: notify::Result<notify::Event>| {
        for notice in notices(event, &given, &watched) {
            if sender.try_send(notice).is_err() {
                // Relaxed: as where it is read.
                overflow.store(true, Ordering::Relaxed);
            }
        }
    };
    let started = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(&absolute(root), RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    started
        .map_err(|error| {
            warn!(
                "no change notices for {}: {error}; looking every {SURVEY_EVERY_WITHOUT_NOTICES:?}",
                root.display()
            );
        })
        .ok()
}

/// What an event of the kernel means here. A file counts once it is complete: closed after writing, or renamed;
/// its creation counts only if it is a link, which nobody writes to.
fn notices(event: notify::Result<notify::Event>, root: &Path, watched: &Path) -> Vec<Notice> {
    let Ok(event) = event else { return vec![Notice::Survey] };
    if event.need_rescan() {
        return vec![Notice::Survey];
    }
    let mut notices = Vec::new();
    for path in event.paths {
        let Ok(rest) = path.strip_prefix(watched) else { continue };
        let path = if rest.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(rest)
        };
        // What happens inside of hidden folders shows in the links that lead there.
        let hidden_above = rest
            .parent()
            .is_some_and(|above| above.iter().any(|part| tree::is_hidden(Path::new(part))));
        let is_link = || fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
        let is_folder = || fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let notice = match event.kind {
            _ if hidden_above => None,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                tree::counts(&path).then_some(Notice::File(path))
            }
            EventKind::Create(CreateKind::Folder) => Some(Notice::Survey),
            EventKind::Create(_) if is_link() => Some(if tree::counts(&path) {
                Notice::File(path)
            } else {
                Notice::Survey
            }),
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) if tree::counts(&path) && !is_folder() => {
                Some(Notice::File(path))
            }
            EventKind::Modify(ModifyKind::Name(_)) => Some(Notice::Survey),
            EventKind::Remove(_) if !tree::is_hidden(&path) => Some(Notice::Survey),
            _ => None,
        };
        notices.extend(notice);
    }
    notices
}

/// The path under which the kernel's notices name the directory.
fn absolute(root: &Path) -> PathBuf {
    std::path::absolute(root).unwrap_or_else(|_| root.to_owned())
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    fs::metadata(root).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
