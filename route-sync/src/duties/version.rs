//! The version that an executable prints.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::cmp::Ordering;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What an executable takes to print its version, at most.
const TIME: Duration = Duration::from_secs(5);
/// More than any of ours prints, in bytes.
const LIMIT: usize = 4096;

/// A version, as semver.org orders them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    /// `rc.1`; empty for a release.
    pre: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "v{major}.{minor}.{patch}")?;
        if self.pre.is_empty() { Ok(()) } else { write!(f, "-{}", self.pre) }
    }
}

impl Version {
    /// Of `0.1.0`, `v0.2.0-rc.1+build`.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text).split('+').next()?;
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let three = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then(|| Version { numbers: three, pre: pre.to_owned() })
    }

    /// Of what an executable of ours prints: `Ferrule bridge v0.1.0 (COMMIT): …`.
    fn of_output(text: &str) -> Option<Version> {
        let words = text.lines().find_map(|line| line.strip_prefix("Ferrule "))?;
        let version = words.split([' ', ':']).nth(1)?;
        Version::parse(version)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let release = |version: &Version| version.pre.is_empty();
        let numbers = self.numbers.cmp(&other.numbers).then(release(self).cmp(&release(other)));
        numbers.then_with(|| {
            // Numbers as numbers, and below words.
            let parts = |version: &Version| -> Vec<(bool, u64, String)> {
                let part = |part: &str| match part.parse() {
                    Ok(number) => (false, number, String::new()),
                    Err(_) => (true, 0, part.to_owned()),
                };
                version.pre.split('.').map(part).collect()
            };
            parts(self).cmp(&parts(other))
        })
    }
}

/// The version of an executable of ours, as it prints it; `None` for another program's, which may as
/// well not start here at all.
///
/// # Errors
/// The operating system has no pipe or process left: nothing is known.
pub fn printed(path: &Path) -> io::Result<Option<Version>> {
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    command.arg("--version").env_clear().current_dir("/").stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let spawned = command.spawn();
    // It holds the pipe's other end.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if is_lack(&error) => return Err(error),
        Err(_) => return Ok(None),
    };
    let text = read(&mut reader);
    // A program that waits for something is no plugin of ours.
    let _ = child.kill();
    let _ = child.wait();
    Ok(Version::of_output(&String::from_utf8_lossy(&text?)))
}

/// Whether a program could not be started for want of something other than the program.
fn is_lack(error: &io::Error) -> bool {
    use io::ErrorKind::{ExecutableFileBusy, OutOfMemory, WouldBlock};
    matches!(error.kind(), ExecutableFileBusy | OutOfMemory | WouldBlock)
}

fn read(reader: &mut io::PipeReader) -> io::Result<Vec<u8>> {
    let (begin, mut text) = (Instant::now(), Vec::new());
    while text.len() < LIMIT {
        let left = TIME.saturating_sub(begin.elapsed()).as_millis();
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut waited = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waited, left)? == 0 {
            break;
        }
        let mut part = [0; 1024];
        match reader.read(&mut part)? {
            0 => break,
            length => text.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn versions_are_ordered_as_releases_follow_each_other() {
        let ordered =
            ["0.1.0", "0.2.0-rc.2", "0.2.0-rc.10", "0.2.0-x", "0.2.0", "0.10.0", "v1.0.0"];
        let versions: Vec<Version> =
            ordered.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(versions.is_sorted() && versions.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(Version::parse("v1.2.3-a+b").unwrap().to_string(), "v1.2.3-a");
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "version"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ours_is_recognised_by_what_it_prints() {
        let of = |text: &str| Version::of_output(text).map(|version| version.to_string());
        let ours = "Ferrule bridge v0.1.0 (abc): attaches\nCNI protocol versions supported: 1.1.0";
        assert_eq!(of(ours).as_deref(), Some("v0.1.0"));
        assert_eq!(of("Ferrule vxlan v1.2.3: x").as_deref(), Some("v1.2.3"));
        assert_eq!(of("CNI bridge plugin v1.6.2"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_program_is_asked_and_never_waited_for_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        // Another test's child may hold the file for writing until its exec: it is asked again.
        let asked = |path: &Path| {
            loop {
                match printed(path) {
                    Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                    other => return other.unwrap().map(|version| version.to_string()),
                }
            }
        };
        let ours = program("a", "#!/bin/sh\necho 'Ferrule a v0.3.0: x' >&2\n");
        assert_eq!(asked(&ours).as_deref(), Some("v0.3.0"));
        let endless = program("b", "#!/bin/sh\nexec cat /dev/zero\n");
        assert_eq!(asked(&endless), None);
        let foreign = program("c", "no program");
        assert_eq!(asked(&foreign), None);
        assert_eq!(asked(&dir.path().join("none")), None);
    }
}
