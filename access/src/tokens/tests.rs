//! The file of tokens: who is let in, what is refused and in which words, and what a change of the file does.

use std::fs;

use super::*;

const NOW: u64 = 1_800_000_000;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    (folder, path)
}

fn token(name: &str, role: Role, seed: u8) -> (String, String) {
    new_token(name, role, [seed; 32]).unwrap()
}

/// Looks at the file as at a time to come, so that the real time that passes has no part in it.
fn look(file: &TokenFile, after: Duration) {
    let looked = file.state().looked;
    file.look(looked + after);
}

#[test]
fn a_token_opens_with_the_name_and_role_of_its_line() {
    let (_folder, path) = folder();
    let (ann, ann_line) = token("ann", Role::Reader, 1);
    let (ci, ci_line) = token("ci@lake.example", Role::Scorer, 2);
    let (_, unused) = token("bob", Role::Operator, 3);
    fs::write(
        &path,
        format!("# people\n\n{ann_line}   # of the lake team\n  {ci_line} expires=2027-01-31\r\n#{unused}\n"),
    )
    .unwrap();
    let file = TokenFile::open(&path).unwrap();
    let caller = file.identify(&ann, NOW).unwrap().unwrap();
    assert_eq!((caller.user.as_str(), caller.role), ("ann", Role::Reader));
    assert_eq!(caller.expires, None);
    let caller = file.identify(&ci, NOW).unwrap().unwrap();
    assert_eq!(
        (caller.user.as_str(), caller.role, caller.expires),
        ("ci@lake.example", Role::Scorer, Some(1_801_353_600))
    );
    let (bob, _) = token("bob", Role::Operator, 3);
    for stranger in ["", "whim_", &bob, &ann[..ann.len() - 1], &format!("{ann} ")] {
        assert_eq!(file.identify(stranger, NOW).unwrap(), None);
    }
}

#[test]
fn a_token_counts_until_its_day_begins() {
    let (_folder, path) = folder();
    let (ann, line) = token("ann", Role::Reader, 1);
    fs::write(&path, format!("{line} expires=2027-01-31")).unwrap();
    let file = TokenFile::open(&path).unwrap();
    assert!(file.identify(&ann, 1_801_353_599).unwrap().is_some());
    let error = file.identify(&ann, 1_801_353_600).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unauthenticated);
    assert_eq!(error.message(), "the token of ann expired on 2027-01-31");
}

#[test]
fn a_broken_file_is_refused_with_its_line_and_never_with_what_is_in_it() {
    let (_folder, path) = folder();
    let (secret, good) = token("ann", Role::Reader, 1);
    let (_, other) = token("bob", Role::Reader, 1);
    let (_, twice) = token("ann", Role::Reader, 2);
    for (line, why) in [
        ("carl".to_owned(), "the role is missing"),
        ("carl admin".to_owned(), "is not a role"),
        ("carl reader".to_owned(), "hash of the token is missing"),
        (format!("carl reader {secret}"), "not sha256:"),
        (format!("carl reader sha256:{secret}"), "64 hex digits"),
        (secret.repeat(4), "a name is"),
        (format!("{good}=x"), "64 hex digits"),
        (format!("{good} {secret}"), "the fourth word"),
        (format!("{good} expires=2027-02-30"), "expires="),
        (format!("{good} expires=2027-01-31 x"), "too many words"),
        (other, "in another line already"),
        (twice, "'ann' has a token already"),
    ] {
        fs::write(&path, format!("# one\n{good}\n{line}\n")).unwrap();
        let error = TokenFile::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("', line 3: ") && text.contains(why), "{text}");
        assert!(!text.contains(&secret), "{text}");
        assert_eq!(error.hint(), Some(FORM));
    }
    fs::write(&path, b"# \xff\n").unwrap();
    let error = TokenFile::open(&path).unwrap_err();
    assert!(error.message().ends_with("line 1: it is not UTF-8 text"));
    fs::remove_file(&path).unwrap();
    let error = TokenFile::open(&path).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
}

#[test]
fn a_change_counts_and_a_broken_one_does_not() {
    let (_folder, path) = folder();
    let (ann, ann_line) = token("ann", Role::Reader, 1);
    let (bob, bob_line) = token("bob", Role::Scorer, 2);
    let known = |file: &TokenFile, token: &str| file.identify(token, NOW).unwrap().is_some();
    fs::write(&path, &ann_line).unwrap();
    let file = TokenFile::open(&path).unwrap();
    file.state().looked += Duration::from_secs(3600);
    fs::write(&path, format!("{ann_line}\n{bob_line}")).unwrap();
    look(&file, Duration::from_millis(999));
    assert!(!known(&file, &bob), "looked at again within the second");
    look(&file, LOOK_AGAIN);
    assert!(known(&file, &bob) && known(&file, &ann));
    fs::write(&path, format!("{bob_line}\nann")).unwrap();
    look(&file, LOOK_AGAIN);
    assert!(known(&file, &bob) && known(&file, &ann));
    assert!(file.state().told.as_ref().unwrap().contains("line 2"));
    fs::remove_file(&path).unwrap();
    look(&file, LOOK_AGAIN);
    assert!(known(&file, &bob) && known(&file, &ann));
    fs::write(&path, &bob_line).unwrap();
    look(&file, LOOK_AGAIN);
    assert!(known(&file, &bob) && !known(&file, &ann));
    assert_eq!(file.state().told, None);
}

#[tokio::test]
async fn a_followed_file_is_read_again_without_a_caller() {
    let (_folder, path) = folder();
    let (_, line) = token("ann", Role::Reader, 1);
    fs::write(&path, "").unwrap();
    let file = Arc::new(TokenFile::open(&path).unwrap());
    fs::write(&path, line).unwrap();
    let follower = tokio::spawn({
        let file = Arc::clone(&file);
        async move { file.follow().await }
    });
    let read = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while file.state().lines.is_empty() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap();
    follower.abort();
}

#[test]
fn a_new_token_is_its_own_and_its_line_does_not_tell_it() {
    let (token, line) = new_token("ann", Role::Operator, [7; 32]).unwrap();
    assert!(token.starts_with("whim_") && token.len() == 48, "{token}");
    assert!(line.starts_with("ann operator sha256:"), "{line}");
    assert!(!line.contains(&token[5..]));
    assert_ne!(token, new_token("ann", Role::Operator, [8; 32]).unwrap().0);
    for name in ["", "a b", "#ann", "an\nn", &"x".repeat(129)] {
        assert!(new_token(name, Role::Reader, [7; 32]).is_err(), "{name}");
    }
}

#[test]
fn a_file_does_not_show_its_hashes() {
    let (_folder, path) = folder();
    let (_, line) = token("ann", Role::Reader, 1);
    fs::write(&path, &line).unwrap();
    let text = format!("{:?}", TokenFile::open(&path).unwrap());
    assert!(
        !text.contains("ann") && text.contains("TokenFile"),
        "{text}"
    );
}
