//! Accepted resources on disk, so that a proxy can start while the control plane is away.
//!
//! One file for each node id: a line with format and checksum, a line with the node id, then one length-delimited
//! message for each type. Written aside and renamed, so a reader sees the old file or the new one; aside under a name that no
//! other writer has, for two proxies may share a node id while one takes over from the other.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use weft_xds::pb::discovery::{DeltaDiscoveryResponse, Resource as WireResource};
use weft_xds::{Any, Resource, TypeUrl, content_version};

/// First word of the file: name and version of its format.
const FORMAT: &str = "weft-state-1";
/// Last part of the name of a file that is being written.
const ASIDE: &str = "tmp";
/// A larger file is neither written nor read.
const BYTES_MAX: u64 = 256 << 20;

/// Why a file is of no use. The proxy starts as if there were none.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateFileError {
    /// It cannot be read or written.
    #[error("cannot be read or written: {0}")]
    Io(io::Error),
    /// It is larger than a file that this proxy writes.
    #[error("is larger than {BYTES_MAX} bytes")]
    Size,
    /// It is cut off, altered, or of another format.
    #[error("is damaged or of another format")]
    Damaged,
    /// It belongs to another node.
    #[error("belongs to node {0:?}")]
    Foreign(String),
}

impl From<io::Error> for StateFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The resources that a file holds, by type.
pub(super) type Contents = BTreeMap<TypeUrl, Vec<Resource>>;

/// Where one node's resources are kept.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    path: PathBuf,
    node: String,
}

impl StateFile {
    pub(super) fn new(dir: &Path, node: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "~._-".contains(c);
        let name: String = node
            .chars()
            .map(|c| {
                if plain(c) {
                    c.to_string()
                } else {
                    format!("%{:x}", u32::from(c))
                }
            })
            .collect();
        Self {
            path: dir.join(format!("xds-{name}.state")),
            node: node.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// When the file is of no use.
    pub(super) fn load(&self) -> Result<Option<Contents>, StateFileError> {
        self.clean();
        let file = match File::open(&self.path) {
            Ok(file) => file,
            // A folder that cannot be is spoken of where something is to be saved in it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        // One byte more than is allowed tells a file that is too large; its stated size may be a lie.
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(StateFileError::Size);
        }
        decode(&bytes, &self.node).map(Some)
    }

    /// Replaces the file. Blocks on the disk.
    ///
    /// # Errors
    /// When the directory cannot be written to, or the content is too large. The old file then stays.
    pub(super) fn save(&self, contents: &Contents) -> Result<(), StateFileError> {
        let bytes = encode(contents, &self.node);
        if bytes.len() as u64 > BYTES_MAX {
            return Err(StateFileError::Size);
        }
        // Made when there is something to keep; nobody else has a look at what routes there are.
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let aside = self.path.with_extension(format!("{:016x}.{ASIDE}", fastrand::u64(..)));
        let written = write(&aside, &bytes).and_then(|()| fs::rename(&aside, &self.path));
        if written.is_err() {
            // A full disk needs the room; that there is nothing to remove is as good.
            _ = fs::remove_file(&aside);
        }
        Ok(written?)
    }

    /// Removes what writers of before have left when they were killed. One that lives and is interrupted by this fails, says so and
    /// writes again.
    fn clean(&self) {
        let (Some(folder), Some(stem)) = (self.path.parent(), self.path.file_stem()) else {
            return;
        };
        let Ok(entries) = fs::read_dir(folder) else { return };
        let own = format!("{}.", stem.to_string_lossy());
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&own).and_then(|rest| rest.strip_suffix(ASIDE));
            if rest.is_some_and(|rest| rest.is_empty() || rest.len() == 17 && rest.ends_with('.')) {
                // Whoever removed it before us has done the same.
                _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn checksum(bytes: &[u8]) -> String {
    content_version(&Any {
        type_url: FORMAT.to_owned(),
        value: bytes.to_vec(),
    })
}

fn encode(contents: &Contents, node: &str) -> Vec<u8> {
    let mut body = format!("{node:?}\n").into_bytes();
    for (kind, resources) in contents {
        let resources = resources.iter().map(|resource| WireResource {
            name: resource.name.to_string(),
            version: resource.version.to_string(),
            resource: Some((*resource.body).clone()),
            ..WireResource::default()
        });
        let message = DeltaDiscoveryResponse {
            type_url: kind.as_str().to_owned(),
            resources: resources.collect(),
            ..DeltaDiscoveryResponse::default()
        };
        body.extend(message.encode_length_delimited_to_vec());
    }
    let mut bytes = format!("{FORMAT} {}\n", checksum(&body)).into_bytes();
    bytes.extend(body);
    bytes
}

fn decode(bytes: &[u8], node: &str) -> Result<Contents, StateFileError> {
    let (head, body) = split_line(bytes).ok_or(StateFileError::Damaged)?;
    if head != format!("{FORMAT} {}", checksum(body)).as_bytes() {
        return Err(StateFileError::Damaged);
    }
    let (owner, mut rest) = split_line(body).ok_or(StateFileError::Damaged)?;
    if owner != format!("{node:?}").as_bytes() {
        return Err(StateFileError::Foreign(String::from_utf8_lossy(owner).into_owned()));
    }
    let mut contents = Contents::new();
    while !rest.is_empty() {
        let message =
            DeltaDiscoveryResponse::decode_length_delimited(&mut rest).map_err(|_| StateFileError::Damaged)?;
        let kind = TypeUrl::parse(&message.type_url).ok_or(StateFileError::Damaged)?;
        let resources = message.resources.into_iter().filter_map(|resource| {
            let body = Arc::new(resource.resource?);
            Some(Resource {
                name: resource.name.into(),
                version: resource.version.into(),
                body,
            })
        });
        contents.entry(kind).or_default().extend(resources);
    }
    Ok(contents)
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contents() -> Contents {
        let resource = |name: &str| {
            Resource::from_any(
                name,
                Any {
                    type_url: "t/x".into(),
                    value: name.into(),
                },
            )
        };
        [
            (TypeUrl::Cluster, vec![resource("a"), resource("b")]),
            (TypeUrl::Listener, vec![resource("l")]),
        ]
        .into()
    }

    #[test]
    fn what_is_saved_is_loaded_by_the_same_node_and_readable_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "router~10.0.0.1~gw.ns~ns.svc");
        assert!(file.load().unwrap().is_none());
        file.save(&Contents::new()).unwrap();
        file.save(&contents()).unwrap();
        assert_eq!(file.load().unwrap(), Some(contents()));
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing else is left behind"
        );
    }

    #[test]
    fn writers_of_one_node_do_not_meet_and_what_a_killed_one_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "n");
        for left in ["xds-n.tmp", "xds-n.00112233aabbccdd.tmp"] {
            fs::write(dir.path().join(left), "half").unwrap();
        }
        for others in ["xds-n.x.00112233aabbccdd.tmp", "xds-n2.00112233aabbccdd.tmp"] {
            fs::write(dir.path().join(others), "another node's").unwrap();
        }
        assert!(file.load().unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| file.save(&contents()).unwrap()));
            }
        });
        assert_eq!(file.load().unwrap(), Some(contents()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(&dir.path().join("a/b"), "router~10.0.0.1~gw.ns~ns.svc");
        file.save(&contents()).unwrap();
        assert!(dir.path().join("a/b").is_dir());
    }

    #[test]
    fn a_file_that_is_cut_off_altered_or_foreign_is_refused() {
        let good = encode(&contents(), "n");
        assert!(decode(&good, "n").is_ok());
        assert!(matches!(decode(&good, "m"), Err(StateFileError::Foreign(_))));
        for len in 0..good.len() {
            assert!(
                matches!(decode(&good[..len], "n"), Err(StateFileError::Damaged)),
                "cut at {len}"
            );
        }
        for place in 0..good.len() {
            let mut altered = good.clone();
            altered[place] ^= 1;
            assert!(decode(&altered, "n").is_err(), "altered at {place}");
        }
    }

    #[test]
    fn a_node_id_never_leaves_the_directory() {
        let file = StateFile::new(Path::new("/state"), "../../etc/passwd");
        assert_eq!(file.path().parent(), Some(Path::new("/state")));
    }
}
