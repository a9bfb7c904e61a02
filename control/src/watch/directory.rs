//! The state of a watched directory: what each file showed when it was last looked at, and which of them need
//! another look. It reads files; when to look is decided by its caller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::time::Instant;
use weft_policies::yaml::FILE_BYTES_MAX;
use weft_policies::{Finding, ObjectRef, Origin, Severity};

use super::catalog::{Catalog, Missing};
use super::decode::{Content, decode, fnv1a};
use super::kept::Kept;
use super::source::{SECOND_LOOK_AFTER, SECOND_LOOK_AT_EMPTY_AFTER};
use super::tree::{self, Signature};
use super::{Event, Manifest, codes};
use crate::world::ObjectKey;

/// A directory of object files.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    files: BTreeMap<PathBuf, Seen>,
    catalog: Catalog,
    /// What was last said about each file, so that it is said once.
    said: BTreeMap<PathBuf, Vec<Finding>>,
    /// The last good texts, where they are to outlive this process.
    kept: Option<Kept>,
    /// Objects that are in force as an earlier process has left them.
    from_before: BTreeSet<(PathBuf, ObjectKey)>,
    /// Nothing has been told yet. What an earlier process knew is no reason to doubt what is there now.
    is_first: bool,
}

/// What a look at a file found.
#[derive(Debug, Default)]
struct Seen {
    /// `None`: it was not there.
    signature: Option<Signature>,
    /// Hash of the bytes; `None` if there were none to read.
    hash: Option<u64>,
    /// Findings of the content itself.
    findings: Vec<Finding>,
    /// The look found fewer objects than the one before, and is not believed until a second one agrees.
    doubted: bool,
    /// It is empty, or holds what cannot be told for what it is: it may be on its way to something else.
    unfinished: bool,
    /// A changed signature that the last survey saw; the next one believes it if it is still the same.
    unsettled: Option<Signature>,
}

/// What a look has led to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What the world has to learn.
    pub(super) events: Vec<Event>,
    /// The file has to be looked at again after this time.
    pub(super) again_after: Option<Duration>,
}

impl Directory {
    /// With a folder for the state, what is good is kept there.
    pub(super) fn new(root: PathBuf, state_dir: Option<&Path>) -> Self {
        Self {
            kept: state_dir.map(|dir| Kept::new(dir, &root)),
            from_before: BTreeSet::new(),
            is_first: true,
            root,
            files: BTreeMap::new(),
            catalog: Catalog::default(),
            said: BTreeMap::new(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Reads everything: the first thing that the world hears.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn read_all(&mut self) -> io::Result<Vec<Event>> {
        let listing = tree::list(&self.root)?;
        let mut events = Vec::new();
        if self.is_first {
            events.extend(self.restore(&listing.files.iter().map(|found| found.path.clone()).collect()));
        }
        for found in &listing.files {
            self.look_at(&found.path, true);
        }
        self.is_first = false;
        events.push(self.catalog.tell_all());
        let files: Vec<_> = self.files.keys().cloned().collect();
        events.extend(files.iter().filter_map(|file| self.say(file)));
        events.extend(self.say_left_out(listing.left_out));
        Ok(events)
    }

    /// Enters what an earlier process has kept of files that are still there. Told before anything else, it is what a refused
    /// object falls back to.
    fn restore(&mut self, present: &BTreeSet<PathBuf>) -> Option<Event> {
        let mut by_file: BTreeMap<PathBuf, Vec<Manifest>> = BTreeMap::new();
        for (file, text) in self.kept.as_ref()?.load() {
            if !present.contains(&file) {
                continue;
            }
            for mut manifest in decode(&file.display().to_string(), text.json.as_bytes()).manifests {
                // Read as a text of its own, it would seem to begin on the first line.
                manifest.origin.line = text.line;
                manifest
                    .findings
                    .iter_mut()
                    .for_each(|finding| finding.origin.line = text.line);
                self.from_before.insert((file.clone(), manifest.key.clone()));
                if let Some(kept) = &mut self.kept {
                    kept.note(&file, manifest.key.clone(), text.clone());
                }
                by_file.entry(file.clone()).or_default().push(manifest);
            }
        }
        if by_file.is_empty() {
            return None;
        }
        for (file, manifests) in by_file {
            self.catalog.update(&file, manifests, Missing::Hold);
        }
        Some(self.catalog.tell_all())
    }

    /// When [`Directory::save`] has work to do.
    pub(super) fn save_due(&self) -> Option<Instant> {
        self.kept.as_ref()?.due()
    }

    /// Keeps what is good, where there is a place for it and it is time.
    pub(super) fn save(&mut self, now: Instant) {
        if let Some(kept) = &mut self.kept {
            kept.save(now);
        }
    }

    /// Whether some file may be in the middle of being written.
    pub(super) fn is_unfinished(&self) -> bool {
        self.files.values().any(|seen| seen.unfinished)
    }

    /// Looks at one file, which may be new, changed, gone or the same. What was doubted is believed if it is still so
    /// when a second look is due.
    pub(super) fn look(&mut self, path: &Path, is_due: bool) -> Looked {
        let concerned = self.look_at(path, is_due);
        let mut events = self.catalog.tell(concerned.clone());
        let mut files = self.catalog.files_with(&concerned);
        files.insert(path.to_owned());
        events.extend(files.iter().filter_map(|file| self.say(file)));
        let again_after = self
            .files
            .get(path)
            .filter(|seen| seen.doubted)
            .map(|seen| match seen.unfinished {
                true => SECOND_LOOK_AT_EMPTY_AFTER,
                false => SECOND_LOOK_AFTER,
            });
        if again_after.is_none()
            && self
                .files
                .get(path)
                .is_some_and(|seen| seen.hash.is_none() && seen.findings.is_empty())
        {
            self.files.remove(path);
        }
        Looked { events, again_after }
    }

    /// Which files differ from what was last seen of them, and why the rest of the tree was left out. Links and new
    /// files are named at once; a file known before is left to its own close or rename, and is named only if it has
    /// stayed the same since the last survey: it is not being written then.
    ///
    /// # Errors
    /// If the directory cannot be read. Nothing is forgotten then.
    pub(super) fn survey(&mut self) -> io::Result<(BTreeSet<PathBuf>, Vec<Event>)> {
        let listing = tree::list(&self.root)?;
        let mut changed = BTreeSet::new();
        for found in &listing.files {
            let Some(seen) = self.files.get_mut(&found.path) else {
                changed.insert(found.path.clone());
                continue;
            };
            if seen.signature == Some(found.signature) {
                seen.unsettled = None;
            } else if found.linked || seen.signature.is_none() || seen.unsettled == Some(found.signature) {
                changed.insert(found.path.clone());
            } else {
                seen.unsettled = Some(found.signature);
            }
        }
        let present: BTreeSet<_> = listing.files.iter().map(|found| &found.path).collect();
        changed.extend(self.files.keys().filter(|path| !present.contains(path)).cloned());
        Ok((changed, self.say_left_out(listing.left_out)))
    }

    /// Reads a file and puts what it shows into the catalog. Returns the objects concerned.
    fn look_at(&mut self, path: &Path, is_due: bool) -> BTreeSet<ObjectKey> {
        let seen = self.files.entry(path.to_owned()).or_default();
        seen.unsettled = None;
        let bytes = match read(path, &mut seen.signature) {
            Ok(bytes) => bytes,
            Err(problem) => {
                // It is there and does not open: its objects are as good as they were.
                let fix = "make it readable";
                seen.findings = vec![file_finding(path, codes::UNREADABLE_FILE, problem, fix)];
                seen.doubted = false;
                seen.hash = None;
                return BTreeSet::new();
            }
        };
        let hash = bytes.as_deref().map(fnv1a);
        let is_blank = bytes.as_deref().is_some_and(|bytes| bytes.trim_ascii().is_empty());
        if hash.is_some() && hash == seen.hash && !seen.doubted {
            return BTreeSet::new();
        }
        let content = bytes
            .map(|bytes| decode(&path.display().to_string(), &bytes))
            .unwrap_or_default();
        let Content {
            manifests,
            findings,
            texts,
            torn,
        } = content;
        seen.unfinished = torn || is_blank;
        let is_settled = self.is_first && !is_blank;
        let agreed = is_due && (is_settled || seen.doubted && hash == seen.hash);
        seen.doubted = !torn && !agreed && self.catalog.would_lose(path, &manifests);
        seen.hash = hash;
        seen.findings = findings;
        let missing = if torn || seen.doubted {
            Missing::Hold
        } else {
            Missing::Remove
        };
        let concerned = self.catalog.update(path, manifests, missing);
        if let Some(kept) = &mut self.kept {
            for (key, text) in texts {
                self.from_before.remove(&(path.to_owned(), key.clone()));
                kept.note(path, key, text);
            }
            kept.retain(path, |key| self.catalog.has(path, key));
            self.from_before
                .retain(|(file, key)| file != path || self.catalog.has(path, key));
        }
        concerned
    }

    /// The finding that says what of a file is in force although it does not stand there, where nobody who looks at this process
    /// alone could know.
    fn kept_from_before(&self, file: &Path) -> Option<Finding> {
        let of_file = self.from_before.iter().filter(|(path, _)| path == file);
        let names: Vec<String> = of_file.map(|(_, key)| key.to_string()).collect();
        let (first, others) = (names.first()?, names.len() - 1);
        let more = if others == 0 {
            String::new()
        } else {
            format!(" and {others} others")
        };
        let problem = format!("is broken since before the restart: {first}{more} in force as last good");
        let fix = "correct the file, or remove what is no longer wanted";
        let finding = file_finding(file, codes::KEPT_FROM_BEFORE, problem, fix);
        let severity = Severity::Warning;
        Some(Finding { severity, ..finding })
    }

    /// What there is to say about a file, if it differs from what was said before.
    fn say(&mut self, file: &Path) -> Option<Event> {
        let mut findings = self
            .files
            .get(file)
            .map(|seen| seen.findings.clone())
            .unwrap_or_default();
        findings.extend(self.catalog.overshadowed(file));
        findings.extend(self.kept_from_before(file));
        self.say_findings(file, findings)
    }

    fn say_left_out(&mut self, left_out: Vec<(PathBuf, String)>) -> Vec<Event> {
        let root = self.root.clone();
        let fix = "move some of it into another directory";
        let findings = left_out
            .into_iter()
            .map(|(path, problem)| file_finding(&path, codes::UNREADABLE_FILE, problem, fix));
        self.say_findings(&root, findings.collect()).into_iter().collect()
    }

    fn say_findings(&mut self, file: &Path, findings: Vec<Finding>) -> Option<Event> {
        let before = match findings.is_empty() {
            true => self.said.remove(file),
            false => self.said.insert(file.to_owned(), findings.clone()),
        };
        if before.unwrap_or_default() == findings {
            return None;
        }
        Some(Event::File {
            file: file.display().to_string().into(),
            findings,
        })
    }
}

/// The bytes of a file and the signature that it had before they were read; `Ok(None)` if it is not there.
fn read(path: &Path, signature: &mut Option<Signature>) -> Result<Option<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    *signature = Signature::of(path).map_err(unreadable)?;
    let Some(found) = signature else { return Ok(None) };
    if found.size() > FILE_BYTES_MAX as u64 {
        return Err(format!("has {} bytes, more than {FILE_BYTES_MAX}", found.size()));
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

fn file_finding(path: &Path, code: &'static str, problem: String, fix: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        code,
        object: ObjectRef {
            kind: "File".to_owned(),
            namespace: String::new(),
            name: path.display().to_string(),
        },
        origin: Origin {
            file: path.display().to_string().into(),
            line: 0,
        },
        path: String::new(),
        problem,
        fix: fix.to_owned(),
    }
}
