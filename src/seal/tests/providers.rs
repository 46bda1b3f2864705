//! Where the key comes from.

use std::fs;

use super::*;
use crate::error::ErrorKind;

const DIGITS: &str = "00ff102030405060708090a0b0c0d0e0F0E0D0C0B0A090807060504030201000";

#[test]
fn what_one_form_of_a_key_wraps_the_others_unwrap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let made = FileKey::create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    let wrapped = made.wrap(&[7; 32]).unwrap();
    assert!(wrapped.len() <= crate::limits::WRAPPED_KEY_BYTES_MAX);
    assert_ne!(made.wrap(&[7; 32]).unwrap(), wrapped);
    let mut raw = [0; 32];
    for (at, byte) in raw.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    }
    assert_eq!(StaticKey::new(raw).unwrap(&wrapped).unwrap(), [7; 32]);
    for form in [raw.to_vec(), text.trim().into(), format!("{}\r\n", text.trim()).into()] {
        fs::write(&path, form).unwrap();
        assert_eq!(FileKey::open(&path).unwrap().unwrap(&wrapped).unwrap(), [7; 32]);
    }
}

#[test]
fn a_new_key_is_for_its_owner_and_takes_nobodys_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    FileKey::create(&path).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(FileKey::create(&path).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_is_no_key_is_refused_by_the_name_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("the-key-file");
    let error = FileKey::open(&path).unwrap_err();
    assert!(error.to_string().contains("the-key-file"), "{error}");
    let long = "0".repeat(1_000);
    let bad = DIGITS.replace('f', "g");
    for garbage in ["", "password", &DIGITS[..63], &format!("{DIGITS}0"), &bad, &long] {
        fs::write(&path, garbage).unwrap();
        let error = FileKey::open(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
        assert!(error.to_string().contains("the-key-file"), "{error}");
    }
}

#[test]
fn a_variable_without_a_key_is_refused_by_its_name() {
    // `PATH` is set and no key; setting one is not safe while other tests run.
    for (variable, words) in [("SESSIONLOG_NO_SUCH_KEY", "is not set"), ("PATH", "holds no key")] {
        let error = EnvKey::new(variable).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains(words), "{error}");
    }
}

#[test]
fn a_wrapped_key_that_was_changed_or_is_anothers_is_refused() {
    let key = StaticKey::new([1; 32]);
    let wrapped = key.wrap(&[7; 32]).unwrap();
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = key.unwrap(&changed).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
    }
    for len in 0..wrapped.len() {
        assert!(key.unwrap(&wrapped[..len]).is_err());
    }
    assert!(StaticKey::new([2; 32]).unwrap(&wrapped).is_err());
}

#[test]
fn no_key_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = FileKey::create(directory.path().join("key")).unwrap();
    let vault = Vault::open(provider(0xab), Arc::new(MemoryKeys::default())).unwrap();
    vault.create(&std::collections::BTreeSet::from([SESSION])).unwrap();
    let key = vault.key(SESSION).unwrap().unwrap();
    assert_eq!(format!("{file:?} {:?}", StaticKey::new([0xab; 32])), "FileKey(..) StaticKey(..)");
    let words = format!("{vault:?} {key:?}");
    assert!(words.contains("Secret(..)") && !words.contains("171, 171"), "{words}");
}

#[test]
fn a_key_that_is_taken_over_is_wiped_where_it_was() {
    let mut key = [7; 32];
    let taken = cipher::Secret::take(&mut key);
    assert_eq!((**taken.0, key), ([7; 32], [0; 32]));
}
