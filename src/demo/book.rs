//! The folder of rules, and the folder that the control plane watches. Applying a file puts it from one into the other.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use weft_bookinfo::files::{PLATFORM, RULES};

/// Where the rules are in the repository.
const IN_REPOSITORY: &str = "examples/bookinfo/rules";
/// A rule file is not longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Rule files that are looked at.
const FILES_MAX: usize = 256;

/// Rule files, and which of them are in force.
#[derive(Debug)]
pub(super) struct Book {
    rules: PathBuf,
    in_force: PathBuf,
    /// Each file as it was seen last.
    seen: BTreeMap<String, Saved>,
    /// Which file stands in which place.
    places: BTreeMap<String, String>,
}

/// A file as it was saved: saving it again without a change counts too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Saved {
    text: String,
    at: SystemTime,
}

impl Saved {
    fn read(path: &Path) -> io::Result<Self> {
        Ok(Self {
            at: fs::metadata(path)?.modified()?,
            text: fs::read_to_string(path)?,
        })
    }
}

/// Which files a look for changes applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// Those that are in force already: the play decides about the others.
    InForce,
    /// Any that is saved.
    All,
}

/// The folder of rules that was asked for, that of the repository around us, or else `fallback`.
pub(super) fn rules_folder(asked_for: Option<PathBuf>, fallback: PathBuf) -> PathBuf {
    asked_for.unwrap_or_else(|| {
        let here = std::env::current_dir().unwrap_or_default();
        let found = here.ancestors().map(|folder| folder.join(IN_REPOSITORY));
        found.into_iter().find(|folder| folder.is_dir()).unwrap_or(fallback)
    })
}

/// Files whose names begin with the same word take each other's place.
fn place(file: &str) -> &str {
    let stem = file.strip_suffix(".yaml").unwrap_or(file);
    stem.split('-').next().unwrap_or(stem)
}

impl Book {
    /// Opens `rules`, writing what is missing there, and puts the platform in force in `in_force`.
    pub(super) fn open(rules: PathBuf, in_force: PathBuf) -> Result<Self> {
        fs::create_dir_all(&rules).with_context(|| format!("{}: cannot be made", rules.display()))?;
        fs::create_dir_all(&in_force).with_context(|| format!("{}: cannot be made", in_force.display()))?;
        for (name, text) in RULES {
            let path = rules.join(name);
            if !path.exists() {
                fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
            }
        }
        for (name, text) in PLATFORM {
            let path = in_force.join(name);
            fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
        Ok(Self {
            rules,
            in_force,
            seen: BTreeMap::new(),
            places: BTreeMap::new(),
        })
    }

    pub(super) fn rules(&self) -> &Path {
        &self.rules
    }

    pub(super) fn in_force(&self) -> &Path {
        &self.in_force
    }

    /// Puts a rule file in force as it is now.
    pub(super) fn apply(&mut self, file: &str) -> Result<()> {
        let path = self.rules.join(file);
        let saved = Saved::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        self.put(file, saved)
    }

    /// Takes what is in force in the place of `file` out of force.
    pub(super) fn withdraw(&mut self, file: &str) -> Result<()> {
        let place = place(file);
        if self.places.remove(place).is_some() {
            let path = self.in_force.join(format!("{place}.yaml"));
            fs::remove_file(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
        Ok(())
    }

    /// The name and text of what is in force in the place of `file`.
    pub(super) fn current(&self, file: &str) -> Option<(&str, &str)> {
        let name = self.places.get(place(file))?;
        Some((name, &self.seen.get(name)?.text))
    }

    /// Applies files that were saved since the last look; their names.
    pub(super) fn follow(&mut self, which: Follow) -> Result<Vec<String>> {
        let mut applied = Vec::new();
        for (file, saved) in self.read()? {
            let stands = self.places.get(place(&file)) == Some(&file);
            if (stands || which == Follow::All) && self.seen.get(&file) != Some(&saved) {
                self.put(&file, saved)?;
                applied.push(file);
            }
        }
        Ok(applied)
    }

    /// Takes every file as known: only what is saved from now on is a change.
    pub(super) fn know_all(&mut self) -> Result<()> {
        self.seen = self.read()?;
        Ok(())
    }

    fn read(&self) -> Result<BTreeMap<String, Saved>> {
        let mut files = BTreeMap::new();
        let entries = fs::read_dir(&self.rules).with_context(|| format!("{}: cannot be read", self.rules.display()))?;
        for entry in entries.take(FILES_MAX) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let small = entry
                .metadata()
                .is_ok_and(|about| about.is_file() && about.len() <= FILE_BYTES_MAX);
            if !name.ends_with(".yaml") || name.starts_with('.') || !small {
                continue;
            }
            match Saved::read(&entry.path()) {
                // An editor empties a file before it writes it: that is no text yet.
                Ok(saved) if !saved.text.trim().is_empty() => drop(files.insert(name, saved)),
                // It may be on its way from one name to another; the next look sees it.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(files)
    }

    /// The watched file changes in one step: written beside the folder, then renamed.
    fn put(&mut self, file: &str, saved: Saved) -> Result<()> {
        let place = place(file).to_owned();
        let path = self.in_force.join(format!("{place}.yaml"));
        let written = (|| -> io::Result<()> {
            let beside = self.in_force.parent().unwrap_or(&self.in_force);
            let mut fresh = tempfile::NamedTempFile::new_in(beside)?;
            fresh.write_all(saved.text.as_bytes())?;
            fresh.persist(&path)?;
            Ok(())
        })();
        written.with_context(|| format!("{}: cannot be written", path.display()))?;
        self.places.insert(place, file.to_owned());
        self.seen.insert(file.to_owned(), saved);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_place_follow_each_other_and_a_saved_file_is_applied() {
        let folder = tempfile::tempdir().unwrap();
        let (rules, in_force) = (folder.path().join("rules"), folder.path().join("work/config"));
        let mut book = Book::open(rules.clone(), in_force.clone()).unwrap();
        let live = |place: &str| fs::read_to_string(in_force.join(place)).ok();
        book.apply("reviews-v1.yaml").unwrap();
        assert_eq!(
            live("reviews.yaml"),
            fs::read_to_string(rules.join("reviews-v1.yaml")).ok()
        );
        book.apply("reviews-50-50.yaml").unwrap();
        assert!(live("reviews.yaml").unwrap().contains("weight: 50"));
        assert_eq!(book.current("reviews-v1.yaml").unwrap().0, "reviews-50-50.yaml");

        fs::write(rules.join("reviews-50-50.yaml"), "# 80\n").unwrap();
        fs::write(rules.join("reviews-jason.yaml"), "# jason\n").unwrap();
        assert_eq!(book.follow(Follow::InForce).unwrap(), ["reviews-50-50.yaml"]);
        assert_eq!(live("reviews.yaml").unwrap(), "# 80\n");
        book.know_all().unwrap();
        assert_eq!(book.follow(Follow::All).unwrap(), [""; 0], "nothing was saved since");
        fs::write(rules.join("reviews-jason.yaml"), "# again\n").unwrap();
        fs::write(rules.join("mine.yaml"), "# new\n").unwrap();
        fs::write(rules.join("details-breaker.yaml"), "").unwrap();
        assert_eq!(book.follow(Follow::All).unwrap(), ["mine.yaml", "reviews-jason.yaml"]);
        assert_eq!(live("reviews.yaml").unwrap(), "# again\n");

        book.withdraw("reviews-v1.yaml").unwrap();
        assert_eq!(
            (live("reviews.yaml"), live("mine.yaml")),
            (None, Some("# new\n".to_owned()))
        );

        book.withdraw("mine.yaml").unwrap();
        let mine = fs::File::options().append(true).open(rules.join("mine.yaml")).unwrap();
        mine.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(book.follow(Follow::All).unwrap(), ["mine.yaml"], "saved as it was");
    }

    #[test]
    fn what_the_reader_has_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("reviews-v1.yaml"), "# mine\n").unwrap();
        let mut book = Book::open(folder.path().to_owned(), folder.path().join("live")).unwrap();
        book.apply("reviews-v1.yaml").unwrap();
        assert_eq!(book.current("reviews-v1.yaml").unwrap().1, "# mine\n");
        assert!(folder.path().join("gateway.yaml").exists(), "what was missing is there");
    }
}
