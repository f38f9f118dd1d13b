#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, fs, path::PathBuf};

use super::*;

const PURPOSES: [Purpose; 5] =
    [Purpose::Workspace, Purpose::PageTokens, Purpose::ResumeTokens, Purpose::Fingerprints, Purpose::Sealing];

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    (folder, path)
}

fn write(path: &PathBuf, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn every_purpose_has_a_key_of_its_own_that_a_copy_of_the_secret_derives_too() {
    let secret = Secret::random();
    let keys: HashSet<_> = PURPOSES.map(|purpose| secret.derive(purpose)).into();
    assert_eq!(keys.len(), PURPOSES.len());
    assert_eq!(secret.clone().derive(Purpose::Sealing), secret.derive(Purpose::Sealing));
    assert_ne!(Secret::random().derive(Purpose::Sealing), secret.derive(Purpose::Sealing));
}

#[test]
fn a_derived_key_never_changes_between_releases() {
    // Digests in ledgers depend on it. The expected value was computed with Python's hmac module.
    let secret = Secret::filled(|bytes| *bytes = [7; 32]);
    let hex: String = secret.derive(Purpose::Workspace).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "ab5ea00925e417bb03cfeb2ceb53a0256ab8abb4d9d16611b38e111faccab770");
}

#[test]
fn the_secret_does_not_show_in_debug() {
    assert_eq!(format!("{:?}", Secret::filled(|bytes| *bytes = [7; 32])), "Secret([masked])");
}

#[test]
fn the_first_start_makes_a_file_that_the_second_reads() {
    let (folder, path) = folder();
    let first = Secret::load_or_create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.len(), text.ends_with('\n')), (65, true));
    let second = Secret::load_or_create(&path).unwrap();
    assert_eq!(first.derive(Purpose::Workspace), second.derive(Purpose::Workspace));
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "what exists is never overwritten");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
}

#[test]
fn starts_that_race_for_the_first_secret_end_with_the_same_one() {
    let (_folder, path) = folder();
    let keys: HashSet<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Secret::load_or_create(&path).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap().derive(Purpose::Sealing)).collect()
    });
    assert_eq!(keys.len(), 1);
}

#[test]
fn hex_digits_in_either_case_and_raw_bytes_are_the_same_secret() {
    let (_folder, path) = folder();
    let expected = Secret::filled(|bytes| *bytes = [0xab; 32]).derive(Purpose::Sealing);
    for content in [
        "ab".repeat(32).into_bytes(),
        ("AB".repeat(32) + "\n").into_bytes(),
        ("aB".repeat(32) + "\r\n").into_bytes(),
        vec![0xab; 32],
    ] {
        write(&path, &content, 0o400);
        assert_eq!(Secret::load_or_create(&path).unwrap().derive(Purpose::Sealing), expected);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_file_of_another_content_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    for content in [&b""[..], &[7; 31], &[7; 33], &[b'g'; 64], &[b'a'; 63], &[b'a'; 65], &[b'a'; 4096]] {
        write(&path, content, 0o600);
        let fault = Secret::load_or_create(&path).unwrap_err();
        assert!(matches!(fault, SecretFault::WrongContent { .. }), "{fault}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_reach_is_refused_and_the_text_says_what_to_do() {
    let (_folder, path) = folder();
    for mode in [0o640, 0o604, 0o660, 0o644] {
        write(&path, &[7; 32], mode);
        let fault = Secret::load_or_create(&path).unwrap_err().to_string();
        assert!(fault.contains("chmod 600") && fault.contains(&format!("{mode:04o}")), "{fault}");
    }
}

#[test]
fn a_folder_and_a_missing_folder_are_told_apart() {
    let (folder, path) = folder();
    let fault = |path: PathBuf| Secret::load_or_create(path).unwrap_err();
    assert!(matches!(fault(folder.path().into()), SecretFault::File(PrivateFault::NotAFile { .. })));
    assert!(matches!(fault(path.join("deeper")), SecretFault::NotCreated { .. }));
}
