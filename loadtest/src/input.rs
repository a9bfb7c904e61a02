//! in → out: a file that a flag names → its bytes, up to a limit.
//! owns: that a file without an end, or one that is far too long, fills no memory.
//! may not touch: what the bytes mean.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::flags::FlagError;

/// Reads `path`, which `flag` names.
///
/// # Errors
/// If it cannot be read, or is longer than `bytes_max`.
pub(crate) fn file(flag: &'static str, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FlagError> {
    let unreadable = |problem: String| FlagError::File {
        flag,
        path: path.to_string_lossy().into_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(unreadable(format!("is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_read_to_the_limit_and_refused() {
        let error = file("--data", Path::new("/dev/zero"), 1000).unwrap_err().to_string();
        assert_eq!(error, "--data \"/dev/zero\": is longer than 1000 bytes");
        assert_eq!(file("--data", Path::new("/dev/null"), 0), Ok(Vec::new()));
    }
}
