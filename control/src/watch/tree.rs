//! The files below a directory: which there are, which count, and how to tell that one has changed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of one directory tree. Ten thousand Services in files of their own stay below.
pub const FILES_MAX: usize = 50_000;
/// Depth of folders below the directory.
pub const DEPTH_MAX: usize = 16;
/// Bytes of all files together: what the control plane is willing to hold.
pub const TOTAL_BYTES_MAX: u64 = 512 << 20;

/// Endings of files that count.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What tells one state of a file from the next without reading it. For a symbolic link: of the file that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// The signature of the file at `path`; `None` if there is none.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| Self::from(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl From<&Metadata> for Signature {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that counts.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) signature: Signature,
    /// Reached through a symbolic link, whose swap nobody announces by the file's own name.
    pub(super) linked: bool,
}

/// The files below a directory, in order of their paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Found>,
    /// Why something was left out, with the path.
    pub(super) left_out: Vec<(PathBuf, String)>,
}

/// Lists what counts below `root`.
///
/// # Errors
/// If `root` itself cannot be read; a folder below it is left out instead.
pub(super) fn list(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut folders = vec![(root.to_owned(), 0)];
    let mut bytes = 0;
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                listing.left_out.push((folder, format!("cannot be read: {error}")));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            if is_hidden(&path) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                match depth < DEPTH_MAX {
                    true => folders.push((path, depth + 1)),
                    false => listing
                        .left_out
                        .push((path, format!("is more than {DEPTH_MAX} folders deep"))),
                }
            } else if has_known_ending(&path) {
                // Gone since the folder was listed: that is no news here, its own event follows.
                let Ok(Some(signature)) = Signature::of(&path) else {
                    continue;
                };
                bytes += signature.size();
                match listing.files.len() < FILES_MAX && bytes <= TOTAL_BYTES_MAX {
                    true => listing.files.push(Found {
                        path,
                        signature,
                        linked: kind.is_symlink(),
                    }),
                    false => listing.left_out.push((path, limit())),
                }
            }
        }
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn limit() -> String {
    format!("is beyond {FILES_MAX} files or {TOTAL_BYTES_MAX} bytes in one directory")
}

/// Whether a file of this name counts: not hidden, and YAML or JSON by its ending.
pub(super) fn counts(path: &Path) -> bool {
    !is_hidden(path) && has_known_ending(path)
}

/// Whether the last part of the path begins with a dot: editors' swap files, `..data` of mounted ConfigMaps.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_known_ending(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_yaml_and_json_files_count() {
        let cases = [
            ("rules.yaml", true),
            ("rules.yml", true),
            ("rules.json", true),
            ("dir.d/rules.yaml", true),
            (".rules.yaml.swp", false),
            (".rules.yaml", false),
            ("rules.yaml~", false),
            ("#rules.yaml#", false),
            ("rules.yaml.bak", false),
            ("README.md", false),
            ("yaml", false),
        ];
        for (path, expected) in cases {
            assert_eq!(counts(Path::new(path)), expected, "{path}");
        }
    }
}
