//! The files of an import: found first, then read one at a time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::report::ImportReport;
use crate::error::{Context, Error, Result};
use crate::limits::TRANSCRIPT_BYTES_MAX;

/// The files of an import, in the order they are read.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) found: Vec<FoundFile>,
}

#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Files {
    /// Finds the files. A path that was given must be there; what cannot be read in a folder is
    /// only reported.
    pub(super) fn find(paths: &[PathBuf], report: &mut ImportReport) -> Result<Self> {
        let mut files = Self::default();
        for path in paths {
            let place = || path.display().to_string();
            let metadata = fs::metadata(path).map_err(Error::io).with_context(place)?;
            if metadata.is_dir() {
                files.add_folder(path, report);
            } else {
                files.found.push(FoundFile { path: path.clone(), bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    /// Adds what is in a folder and the folders in it. A link to a folder is not followed: it
    /// may lead back.
    fn add_folder(&mut self, folder: &Path, report: &mut ImportReport) {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let mut skip = |path: &Path, error: std::io::Error| {
                report.skip(&path.display().to_string(), None, Error::io(error).to_string());
            };
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    skip(&folder, error);
                    continue;
                }
            };
            for entry in entries {
                let entry = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
                match entry {
                    Ok((path, _)) if is_hidden(&path) => {}
                    Ok((path, kind)) if kind.is_dir() => folders.push(path),
                    Ok((path, _)) if is_transcript(&path) => match fs::metadata(&path) {
                        Ok(metadata) if metadata.is_file() => {
                            found.push(FoundFile { path, bytes: metadata.len() });
                        }
                        Ok(_) => {}
                        Err(error) => skip(&path, error),
                    },
                    Ok(_) => {}
                    Err(error) => skip(&folder, error),
                }
            }
        }
        found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.found.append(&mut found);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.found.iter().map(|file| file.bytes).sum()
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn is_transcript(path: &Path) -> bool {
    let extensions = ["json", "jsonl", "traj"];
    path.extension().is_some_and(|own| extensions.into_iter().any(|extension| own == extension))
}

/// The bytes of a file, or why there are none.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| Error::io(error).to_string())?;
    let mut bounded = file.take(TRANSCRIPT_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| Error::io(error).to_string())?;
    Ok(bytes)
}

/// The name of a file without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| String::from("transcript"), |stem| stem.to_string_lossy().into_owned())
}

/// The nearest folder that is named otherwise than the file in it, which is what some programs
/// call a run: all its files have the same names as another run's.
pub(super) fn folder(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let own = path.file_stem()?;
    let names = path.ancestors().skip(1).filter_map(Path::file_name);
    names.into_iter().find(|name| *name != own).map(|name| name.to_string_lossy().into_owned())
}
