//! The shape of the code, as `docs/ARCHITECTURE.md` states it.

use std::fs;
use std::path::{Path, PathBuf};

/// A module imports only from those above it.
const LADDER: &[&str] = &[
    "error",
    "panics",
    "limits",
    "bytes",
    "clock",
    "id",
    "json",
    "access", // ground
    "message",
    "event",
    "codec",
    "policy",
    "projection",
    "context", // meaning
    "log",
    "blob",
    "model", // storage
    "seal",
    "media",
    "index",
    "stream",
    "snapshot",
    "commit",
    "replay",
    "compact",
    "catalog",
    "search",
    "verify", // motion
    "engine", // door
    "assist",
    "testing",
    "transcript", // front
];

/// Where a file lies in the repository, wherever that is.
fn within(path: &Path) -> String {
    let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    format!("/{}", place.display())
}

fn source(root: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(root)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The top module a file of `src` belongs to; `None` for the crate's root and the program.
fn module(path: &Path) -> Option<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    let name = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
    (!["lib", "main", "cli"].contains(&name.as_str())).then_some(name)
}

/// The modules that a file's code names through `crate::`.
fn imports(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1) {
        let names = part.strip_prefix('{').map_or(part, |group| group.split('}').next().unwrap());
        let is_group = names.len() != part.len();
        for name in names.split(',').take(if is_group { usize::MAX } else { 1 }) {
            let name: String =
                name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            found.push(name);
        }
    }
    found.retain(|name| LADDER.contains(&name.as_str()));
    found
}

#[test]
fn modules_import_only_from_those_above_them() {
    let place = |name: &str| LADDER.iter().position(|module| *module == name);
    for path in source("src") {
        // Unit tests may look anywhere.
        if within(&path).contains("tests") {
            continue;
        }
        let Some(own) = module(&path) else { continue };
        let at = place(&own);
        assert!(at.is_some(), "{own} has no place on the ladder");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for import in imports(text) {
            assert!(place(&import) <= at, "{}: imports {import}", path.display());
        }
    }
}

#[test]
fn only_their_own_files_name_sled_rkyv_and_tantivy() {
    for path in source("src") {
        let text = fs::read_to_string(&path).unwrap();
        let place = within(&path);
        let names = |word: &str| {
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
        };
        assert!(!names("sled::") || place.contains("/log/"), "{place} names sled");
        let may_archive =
            ["/message/", "/event/", "/codec/", "/json.rs"].iter().any(|at| place.contains(at));
        assert!(!names("tantivy::") || place.contains("/search/"), "{place} names tantivy");
        assert!(!names("rkyv::") || may_archive, "{place} names rkyv");
    }
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_in_a_sitting() {
    for root in ["src", "tests", "benches", "examples", "fuzz/fuzz_targets"] {
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join(root).exists() {
            continue;
        }
        for path in source(root) {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().count();
            let place = path.display();
            assert!(text.starts_with("//!"), "{place} does not say what it is");
            assert!(lines <= 600, "{place} has {lines} lines");
            let long = text.lines().position(|line| line.chars().count() > 140);
            assert_eq!(long, None, "{place} has a line that nobody reads");
        }
    }
}
