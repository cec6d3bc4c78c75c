//! Fetching the ONNX Runtime library once: pip brings the one pinned wheel (so a mirror or a proxy set up for pip serves
//! here too), the one file that is needed is taken out of it, and both are held against their sha256.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use whimbrel_proto::{Error, ErrorCode};

use super::VERSION;
use crate::runtime::sha256_of_file;

/// Takes one member out of a zip archive.
const EXTRACT: &str = "import sys, shutil, zipfile
with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as source, open(sys.argv[3], 'wb') as target:
    shutil.copyfileobj(source, target)";

/// One platform's wheel and the library in it.
struct Wheel {
    /// pip's name of the platform: with it every host Python picks the same file.
    platform: &'static str,
    wheel_sha256: &'static str,
    member: &'static str,
    /// The name it gets in the cache.
    file: &'static str,
    library_sha256: &'static str,
}

const LINUX_X86_64: Wheel = Wheel {
    platform: "manylinux_2_28_x86_64",
    wheel_sha256: "a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5",
    member: "onnxruntime/capi/libonnxruntime.so.1.28.0",
    file: "libonnxruntime.so",
    library_sha256: "aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083",
};

const LINUX_AARCH64: Wheel = Wheel {
    platform: "manylinux_2_28_aarch64",
    wheel_sha256: "8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f",
    member: "onnxruntime/capi/libonnxruntime.so.1.28.0",
    file: "libonnxruntime.so",
    library_sha256: "23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d",
};

const MACOS_ARM64: Wheel = Wheel {
    platform: "macosx_14_0_arm64",
    wheel_sha256: "f5c5daabd28aad610f83fdcf32acec8fb57e6adc6c6a39fe2a3c755db957b410",
    member: "onnxruntime/capi/libonnxruntime.1.28.0.dylib",
    file: "libonnxruntime.dylib",
    library_sha256: "99909e99214e31fe2296c9f7fae5abc2eaf0145342efe8b0a6ed82e9ddb0a0a0",
};

fn wheel_for(os: &str, arch: &str) -> Result<&'static Wheel, Error> {
    match (os, arch) {
        ("linux", "x86_64") => Ok(&LINUX_X86_64),
        ("linux", "aarch64") => Ok(&LINUX_AARCH64),
        ("macos", "aarch64") => Ok(&MACOS_ARM64),
        _ => Err(Error::new(
            ErrorCode::Invalid,
            format!("no ONNX Runtime {VERSION} is pinned for {os} on {arch}"),
        )
        .with_hint(
            "build or install ONNX Runtime 1.20 or newer and set WHIMBREL_ONNXRUNTIME to its path",
        )),
    }
}

/// Puts the pinned library into `target_dir` and returns its path; does nothing if the right one is there already.
/// `progress` gets a line per step. Blocks on the network for seconds to minutes.
pub fn fetch(target_dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let wheel = wheel_for(std::env::consts::OS, std::env::consts::ARCH)?;
    fetch_with(OsStr::new("python3"), wheel, target_dir, progress)
}

fn fetch_with(
    python: &OsStr,
    wheel: &Wheel,
    target_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let target = target_dir.join(wheel.file);
    if target.is_file() {
        if sha256(&target)? == wheel.library_sha256 {
            progress(&format!(
                "ONNX Runtime {VERSION} is already there: {}",
                target.display()
            ));
            return Ok(target);
        }
        progress(&format!(
            "{} is not ONNX Runtime {VERSION}: replacing it",
            target.display()
        ));
    }
    fs::create_dir_all(target_dir).map_err(|error| disk("create", target_dir, &error))?;
    let scratch = Scratch::new(target_dir)?;
    progress(&format!(
        "fetching ONNX Runtime {VERSION} for {} with pip",
        wheel.platform
    ));
    let archive = download(python, wheel, &scratch.0)?;
    progress(&format!("checking {}", wheel.file));
    let extracted = scratch.0.join(wheel.file);
    extract(python, &archive, wheel.member, &extracted)?;
    let got = sha256(&extracted)?;
    if got != wheel.library_sha256 {
        return Err(wrong_hash(&format!(
            "{} has sha256 {got}, not {}",
            wheel.member, wheel.library_sha256
        )));
    }
    fs::rename(&extracted, &target).map_err(|error| disk("write", &target, &error))?;
    progress(&format!(
        "ONNX Runtime {VERSION} is in place: {}",
        target.display()
    ));
    Ok(target)
}

fn download(python: &OsStr, wheel: &Wheel, folder: &Path) -> Result<PathBuf, Error> {
    let requirements = folder.join("requirements.txt");
    fs::write(
        &requirements,
        format!(
            "onnxruntime=={VERSION} --hash=sha256:{}\n",
            wheel.wheel_sha256
        ),
    )
    .map_err(|error| disk("write", &requirements, &error))?;
    let downloads = folder.join("downloads");
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ])
        .args([
            "--platform",
            wheel.platform,
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
            "--abi",
            "cp311",
        ])
        .arg("-r")
        .arg(&requirements)
        .arg("-d")
        .arg(&downloads);
    let output = run(command)?;
    if !output.status.success() {
        return Err(pip_error(&String::from_utf8_lossy(&output.stderr)));
    }
    let mut entries = fs::read_dir(&downloads).map_err(|error| disk("read", &downloads, &error))?;
    match entries.next() {
        Some(Ok(entry)) => Ok(entry.path()),
        _ => Err(Error::new(
            ErrorCode::Unavailable,
            "pip ended well but left no ONNX Runtime wheel",
        )),
    }
}

fn extract(python: &OsStr, archive: &Path, member: &str, target: &Path) -> Result<(), Error> {
    let mut command = Command::new(python);
    command
        .args(["-c", EXTRACT])
        .arg(archive)
        .arg(member)
        .arg(target);
    let output = run(command)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    let reason = reason.lines().last().unwrap_or("no reason given");
    Err(Error::new(
        ErrorCode::Unavailable,
        format!("cannot take {member} out of the ONNX Runtime wheel: {reason}"),
    ))
}

fn run(mut command: Command) -> Result<Output, Error> {
    let python = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().map_err(|error| {
        Error::new(
            ErrorCode::Unavailable,
            format!("cannot run '{python}', which fetches ONNX Runtime: {error}"),
        )
        .with_hint(
            "install python3 with pip, or set WHIMBREL_ONNXRUNTIME to the path of a libonnxruntime",
        )
    })
}

/// What pip's complaint means. Its own text is long and names hosts: only its kind is passed on.
fn pip_error(text: &str) -> Error {
    if text.contains("No module named pip") {
        return Error::new(
            ErrorCode::Unavailable,
            "python3 has no pip, which fetches ONNX Runtime",
        )
        .with_hint("install pip (python3 -m ensurepip, or the package python3-pip)");
    }
    if text.contains("DO NOT MATCH THE HASHES") {
        return wrong_hash("the wheel that pip got is not the pinned one");
    }
    let offline = [
        "NewConnectionError",
        "ConnectTimeout",
        "Max retries",
        "Connection",
        "resolve",
        "ProxyError",
        "SSLError",
    ];
    if offline.iter().any(|word| text.contains(word)) {
        return Error::new(ErrorCode::Unavailable, "pip cannot reach its package index to fetch ONNX Runtime")
            .with_hint("check the network, or point pip at a mirror (PIP_INDEX_URL or PIP_FIND_LINKS) and run 'whimbrel setup' again");
    }
    if text.contains("No matching distribution") || text.contains("Could not find a version") {
        return Error::new(ErrorCode::Unavailable, format!("pip's package index has no onnxruntime {VERSION} wheel"))
            .with_hint("point pip at an index that has it (PIP_INDEX_URL or PIP_FIND_LINKS) and run 'whimbrel setup' again");
    }
    Error::new(ErrorCode::Unavailable, "pip could not fetch ONNX Runtime").with_hint(format!(
        "'python3 -m pip download --no-deps onnxruntime=={VERSION}' shows why"
    ))
}

fn wrong_hash(what: &str) -> Error {
    Error::new(
        ErrorCode::Data,
        format!("ONNX Runtime was not installed: {what}"),
    )
    .with_hint("the download or the mirror is damaged: try again, or use another index")
}

fn disk(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!("cannot {what} '{}': {error}", path.display()),
    )
}

fn sha256(path: &Path) -> Result<String, Error> {
    sha256_of_file(path).map_err(|error| disk("read", path, &error))
}

/// A folder beside the target, on the same file system so that the last step is one rename; gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(target_dir: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            ".fetch-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = target_dir.join(name);
        fs::create_dir_all(&path).map_err(|error| disk("create", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove a temporary folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::{self, TempFolder};

    /// A python3 that answers every call with one line on stderr and a failure.
    fn failing_python(folder: &Path, stderr: &str) -> PathBuf {
        let path = folder.join("python3");
        testing::script(&path, &format!("echo '{stderr}' >&2; exit 1"));
        path
    }

    fn failure(stderr: &str) -> String {
        let root = TempFolder::new();
        let python = failing_python(root.path(), stderr);
        let target = root.path().join("cache");
        let error =
            fetch_with(python.as_os_str(), &LINUX_X86_64, &target, &mut |_| ()).unwrap_err();
        assert_eq!(
            fs::read_dir(&target).unwrap().count(),
            0,
            "a failed fetch leaves nothing behind"
        );
        error.to_string()
    }

    #[test]
    fn every_way_to_fail_is_one_line_that_says_what_to_do() {
        let root = TempFolder::new();
        let error = fetch_with(
            OsStr::new("/nowhere/python3"),
            &LINUX_X86_64,
            root.path(),
            &mut |_| (),
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot run '/nowhere/python3', which fetches ONNX Runtime"),
            "{error}"
        );
        assert!(failure("python3: No module named pip").contains("install pip"));
        assert!(
            failure("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").contains("not the pinned one")
        );
        let offline = failure("HTTPSConnectionPool(host=mirror.internal): Max retries exceeded");
        assert!(
            offline.contains("check the network") && !offline.contains("mirror.internal"),
            "{offline}"
        );
        assert!(
            failure("ERROR: No matching distribution found for onnxruntime")
                .contains("has no onnxruntime 1.28.0")
        );
    }

    #[test]
    fn a_library_that_is_already_there_is_kept_and_a_wrong_one_is_not() {
        let library = testing::library();
        let root = TempFolder::new();
        let target = root.path().join(LINUX_X86_64.file);
        fs::copy(&library, &target).unwrap();
        let pinned = Wheel {
            library_sha256: Box::leak(sha256(&target).unwrap().into_boxed_str()),
            ..LINUX_X86_64
        };
        let mut lines = Vec::new();
        let python = OsStr::new("/nowhere/python3");
        let found = fetch_with(python, &pinned, root.path(), &mut |line| {
            lines.push(line.to_owned())
        })
        .unwrap();
        assert_eq!((found.as_path(), lines.len()), (target.as_path(), 1));
        assert!(lines[0].contains("already there"), "{lines:?}");

        fs::write(&target, "damaged").unwrap();
        assert!(
            fetch_with(python, &pinned, root.path(), &mut |_| ()).is_err(),
            "a damaged file is fetched again"
        );
    }
}
