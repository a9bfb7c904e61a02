//! The file of a page: opened before the run that it is for, written after it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::flags::FlagError;

/// A file that can be written. What it holds stays until then.
#[derive(Debug)]
pub(crate) struct PageFile {
    path: PathBuf,
    file: File,
}

impl PageFile {
    /// Opens the file of `--html`, and makes it where there is none.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self, FlagError> {
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        match opened {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(error) => Err(FlagError::File {
                flag: "--html",
                path: path.to_string_lossy().into_owned(),
                problem: error.to_string(),
            }),
        }
    }

    /// Puts a page in place of what the file held.
    ///
    /// # Errors
    /// One line: the disk is full.
    pub(crate) fn write(mut self, page: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("--html {:?}: cannot be written: {error}", self.path);
        // A pipe has no length.
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            self.file.set_len(0).map_err(failed)?;
        }
        self.file.write_all(page.as_bytes()).map_err(failed)
    }
}
