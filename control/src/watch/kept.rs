//! The last good text of every object, on disk: what a control plane that starts over a broken file goes on with.
//!
//! One file: a line with format and checksum, a line with the directory that the objects are of, then one line of JSON for each
//! object: file, line, object. Written aside and renamed. Secrets are left out, so that no private key is copied.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use weft_xds::{Any, content_version};

use crate::world::ObjectKey;

/// First word of the file: name and version of its format.
const FORMAT: &str = "weft-objects-1";
const NAME: &str = "objects.state";
/// A larger file is neither written nor read.
const BYTES_MAX: u64 = 256 << 20;
/// No two saves start within this time.
const PAUSE: Duration = Duration::from_secs(1);
/// A save that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// Why a file is of no use. The control plane starts as if there were none.
#[derive(Debug, thiserror::Error)]
enum KeptError {
    #[error("cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("is larger than {BYTES_MAX} bytes")]
    Size,
    #[error("is damaged or of another format")]
    Damaged,
    #[error("is of the directory {0}")]
    Foreign(String),
}

/// An object as it stood in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The line on which it began.
    pub(super) line: u32,
    /// It, as JSON.
    pub(super) json: String,
}

/// The last good text of every object, and when it is to be saved.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    root: PathBuf,
    /// The same from wherever a process is started.
    owner: String,
    texts: BTreeMap<(PathBuf, ObjectKey), Text>,
    dirty: bool,
    next: Instant,
    /// The last save failed for this reason; empty if it did not.
    failure: String,
}

impl Kept {
    pub(super) fn new(dir: &Path, root: &Path) -> Self {
        Self {
            path: dir.join(NAME),
            owner: format!("{:?}", std::path::absolute(root).unwrap_or_else(|_| root.to_owned())),
            root: root.to_owned(),
            texts: BTreeMap::new(),
            dirty: false,
            next: Instant::now(),
            failure: String::new(),
        }
    }

    /// What an earlier run left: files and texts. A file that is of no use is one line in the log.
    pub(super) fn load(&self) -> Vec<(PathBuf, Text)> {
        self.clean();
        self.read().unwrap_or_else(|error| {
            warn!(path = %self.path.display(), %error, "state file not used");
            Vec::new()
        })
    }

    /// The object is good in this form.
    pub(super) fn note(&mut self, file: &Path, key: ObjectKey, text: Text) {
        let known = self.texts.get(&(file.to_owned(), key.clone()));
        if known != Some(&text) {
            self.dirty = true;
            self.texts.insert((file.to_owned(), key), text);
        }
    }

    /// Forgets the objects that are no longer of their file.
    pub(super) fn retain(&mut self, file: &Path, is_there: impl Fn(&ObjectKey) -> bool) {
        let before = self.texts.len();
        self.texts.retain(|(path, key), _| path != file || is_there(key));
        self.dirty |= self.texts.len() != before;
    }

    /// When [`Kept::save`] has work to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.dirty.then_some(self.next)
    }

    /// Replaces the file if that is due. Blocks on the disk. A failure is one line for each reason, and is tried again later.
    pub(super) fn save(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        let failure = self.write().err().map(|error| error.to_string()).unwrap_or_default();
        self.dirty = !failure.is_empty();
        self.next = now + if self.dirty { RETRY } else { PAUSE };
        if failure != self.failure {
            let path = self.path.display();
            match failure.as_str() {
                "" => info!(%path, "state file saved again"),
                error => {
                    warn!(%path, error, "state file not saved; a restart would not know the last good objects of a broken file")
                }
            }
        }
        self.failure = failure;
    }

    fn read(&self) -> Result<Vec<(PathBuf, Text)>, KeptError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        // One byte more than is allowed tells a file that is too large.
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(KeptError::Size);
        }
        self.decode(&bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<(PathBuf, Text)>, KeptError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeptError::Damaged)?;
        let (head, body) = text.split_once('\n').ok_or(KeptError::Damaged)?;
        if head != format!("{FORMAT} {}", checksum(body)) {
            return Err(KeptError::Damaged);
        }
        let (root, objects) = body.split_once('\n').ok_or(KeptError::Damaged)?;
        if root != self.owner {
            return Err(KeptError::Foreign(root.to_owned()));
        }
        let read = |line: &str| {
            let (file, line, object): (String, u32, serde_json::Value) = serde_json::from_str(line).ok()?;
            let json = object.to_string();
            Some((self.root.join(file), Text { line, json }))
        };
        objects
            .lines()
            .map(|line| read(line).ok_or(KeptError::Damaged))
            .collect()
    }

    fn write(&self) -> Result<(), KeptError> {
        let mut body = format!("{}\n", self.owner);
        for ((file, _), text) in &self.texts {
            // A name that is no text cannot be said in JSON; its objects are not kept.
            let Some(file) = file.strip_prefix(&self.root).ok().and_then(Path::to_str) else {
                continue;
            };
            let file = serde_json::Value::from(file);
            body.push_str(&format!("[{file},{},{}]\n", text.line, text.json));
            if body.len() as u64 > BYTES_MAX {
                return Err(KeptError::Size);
            }
        }
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let aside = self.path.with_extension(format!("{:016x}.tmp", fastrand::u64(..)));
        let bytes = format!("{FORMAT} {}\n{body}", checksum(&body));
        let written = put(&aside, bytes.as_bytes()).and_then(|()| fs::rename(&aside, &self.path));
        if written.is_err() {
            // A full disk needs the room; that there is nothing to remove is as good.
            _ = fs::remove_file(&aside);
        }
        Ok(written?)
    }

    /// Removes what writers of before have left when they were killed.
    fn clean(&self) {
        let Some(entries) = self.path.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("objects.") && name.ends_with(".tmp") {
                // Whoever removed it before us has done the same.
                _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn checksum(body: &str) -> String {
    content_version(&Any {
        type_url: FORMAT.to_owned(),
        value: body.as_bytes().to_vec(),
    })
}
