//! What is special about blobs in files: what a crash leaves, and what else lies there.

use super::*;

fn put(store: &FileBlobs, name: BlobName, bytes: &[u8]) -> bool {
    let mut writer = store.create().unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish(name).unwrap()
}

fn name(first: u8, last: u8) -> BlobName {
    let mut bytes = [0; 32];
    bytes[0] = first;
    bytes[31] = last;
    BlobName::from_bytes(bytes)
}

fn read(store: &FileBlobs, name: BlobName) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(name).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn nothing_is_made_before_the_first_blob() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("media");
    let store = FileBlobs::open(&path).unwrap();
    assert_eq!(store.names(None, 10).unwrap(), []);
    assert_eq!((store.disk_bytes().unwrap(), store.size(name(1, 1)).unwrap()), (0, None));
    assert!(!store.remove(name(1, 1)).unwrap());
    assert!(!path.exists());
    assert!(put(&store, name(1, 1), b"one"));
    assert_eq!(fs::read(path.join("01").join(format!("{:062x}", 1))).unwrap(), b"one");
}

#[test]
fn opening_removes_what_a_crash_left_unfinished() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileBlobs::open(directory.path()).unwrap();
    assert!(put(&store, name(1, 1), b"one"));
    let mut writer = store.create().unwrap();
    writer.write_all(b"half").unwrap();
    // A process that is killed drops nothing.
    std::mem::forget(writer);
    assert_eq!(store.disk_bytes().unwrap(), 7);
    let store = FileBlobs::open(directory.path()).unwrap();
    assert_eq!(store.disk_bytes().unwrap(), 3);
    assert_eq!(store.names(None, 10).unwrap(), [(name(1, 1), 3)]);
}

#[test]
fn a_finished_writer_leaves_no_temporary_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileBlobs::open(directory.path()).unwrap();
    assert!(put(&store, name(1, 1), b"one"));
    assert!(!put(&store, name(1, 1), b"two"));
    assert_eq!(fs::read_dir(directory.path().join(UNFINISHED)).unwrap().count(), 0);
    assert_eq!(read(&store, name(1, 1)).unwrap(), b"one");
}

#[test]
fn pages_go_on_over_folders_and_pass_over_strangers() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileBlobs::open(directory.path()).unwrap();
    let all = [name(0, 9), name(7, 1), name(7, 2), name(7, 3), name(255, 0)];
    for name in all.iter().rev() {
        assert!(put(&store, *name, b"x"));
    }
    fs::write(directory.path().join("07").join("readme"), "a stranger").unwrap();
    fs::write(directory.path().join("readme"), "a stranger").unwrap();
    for limit in 1..=6 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.names(after, limit).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            assert!(page.len() <= limit);
            found.extend(page.into_iter().map(|(name, _)| name));
        }
        assert_eq!(found, all);
    }
    assert_eq!(store.names(None, 0).unwrap(), []);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_that_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("media"), "a file").unwrap();
    let path = directory.path().join("media").join("blobs");
    let told = FileBlobs::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("blobs"), "{told}");
    let missing = FileBlobs::open(directory.path().join("a").join("b")).unwrap();
    let told = missing.create().map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("/a/b"), "{told}");
}

#[test]
fn after_a_failed_sync_nothing_more_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileBlobs::open(directory.path()).unwrap();
    store.0.lock().failure = Some(Error::io(io::Error::other("the sync failed")));
    let writer = store.create().unwrap();
    writer.finish(name(1, 1)).unwrap_err();
    assert_eq!(store.names(None, 10).unwrap(), []);
}
