//! Files that are at hand as text: what a simulation, an analysis or a test reads.

use std::path::{Path, PathBuf};

use super::Event;
use super::catalog::{Catalog, Missing};
use super::decode::decode;

/// The events of files given as path and text, as the first read of a directory that holds them would give them.
pub fn events_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Event> {
    let mut catalog = Catalog::default();
    let mut said = Vec::new();
    for (file, text) in files {
        let content = decode(file, text.as_bytes());
        catalog.update(Path::new(file), content.manifests, Missing::Remove);
        said.push((file, content.findings));
    }
    let mut events = vec![catalog.tell_all()];
    for (file, mut findings) in said {
        findings.extend(catalog.overshadowed(&PathBuf::from(file)));
        if !findings.is_empty() {
            events.push(Event::File {
                file: file.into(),
                findings,
            });
        }
    }
    events
}
