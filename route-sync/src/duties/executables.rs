//! The plugins' executables: installed where the runtime looks for them, each in one step, and never
//! an older one over a newer.

use super::conflist::{aside, cannot, remove};
use super::manifest::{Manifest, sum};
use super::version::{Version, printed};
use crate::config::cni::Cni;
use node::files;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const MODE: u32 = 0o755;

/// What is known of the executables from one look to the next.
#[derive(Debug, Default)]
pub struct Executables {
    /// Pairs that were found equal, or whose installed one is newer: by name, both files' marks.
    settled: BTreeMap<String, (Mark, Mark)>,
    /// Those that are newer where they are installed, in words.
    newer: BTreeMap<String, String>,
}

/// What came of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// What could not be installed, and what to do.
    pub problems: Vec<String>,
    /// What `status` remarks.
    pub remarks: Vec<String>,
    /// Names that are missing since they could not be installed.
    pub missing: BTreeSet<String>,
}

/// What is to be done about an executable.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is as it must be.
    Nothing,
    /// There is none, or an older one of ours.
    Install,
    /// There is another program's, which is kept aside.
    Save,
    /// The one that is there is newer.
    Leave(Version),
}

/// Decides by what is there: its version, `None` for another program's; `ours`: the version of the
/// one to install. Of equal versions the one to install counts: it may be built with other options.
fn step(ours: Option<&Version>, there: Option<&Version>, listed: bool) -> Step {
    match (ours, there) {
        (Some(ours), Some(there)) if there > ours => Step::Leave(there.clone()),
        (_, Some(_)) => Step::Install,
        (_, None) if listed => Step::Install,
        (_, None) => Step::Save,
    }
}

/// Marks a file's content without reading it.
type Mark = (u64, u64, u64, i64, i64);

fn mark(meta: &Metadata) -> Mark {
    (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec())
}

impl Executables {
    /// Installs what differs, of `executables` into `bin-dir`.
    pub fn install(&mut self, cni: &Cni) -> Installed {
        let mut installed = Installed::default();
        let Some(from) = &cni.executables else { return installed };
        let names = match executables(from) {
            Ok(names) => names,
            Err(error) => {
                let what = format!(
                    "cannot read {}: {error}; set executables under [cni] to the folder of the \
                     plugins, or leave it out",
                    from.display()
                );
                installed.problems.push(what);
                return installed;
            }
        };
        self.newer.retain(|name, _| names.contains(name));
        let todo: Vec<&String> =
            names.iter().filter(|name| !self.is_settled(from, &cni.bin_dir, name)).collect();
        if !todo.is_empty() {
            self.install_all(cni, from, &todo, &mut installed);
        }
        let missing = names.into_iter().filter(|name| !cni.bin_dir.join(name).exists());
        installed.missing = missing.collect();
        installed.remarks.extend(self.newer.values().cloned());
        installed
    }

    fn is_settled(&self, from: &Path, to: &Path, name: &str) -> bool {
        let marks = [from.join(name), to.join(name)].map(|path| path.metadata().map(|m| mark(&m)));
        let [Ok(source), Ok(there)] = marks else { return false };
        self.settled.get(name) == Some(&(source, there))
    }

    fn install_all(
        &mut self,
        cni: &Cni,
        from: &Path,
        names: &[&String],
        installed: &mut Installed,
    ) {
        let to = &cni.bin_dir;
        let taken = match to.is_dir() {
            true => Ok(()),
            false => files::folder(to),
        };
        let mut manifest = match taken.and_then(|()| Manifest::take(to)) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                let what = "another program installs into it at this moment; it is tried again";
                return installed.problems.push(format!("{}: {what}", to.display()));
            }
            Err(error) => {
                return installed.problems.push(cannot(
                    "cannot install into",
                    &to.join("x"),
                    &error,
                ));
            }
        };
        for name in names {
            // What a killed daemon left half written.
            let _ = remove(&aside(&to.join(name)));
            match self.one(&mut manifest, from, to, name) {
                Ok(()) => self.settle(from, to, name),
                Err(error) => {
                    installed.problems.push(cannot("cannot install", &to.join(name), &error));
                }
            }
        }
        if let Err(error) = manifest.tidy() {
            installed.problems.push(cannot("cannot keep the list of", &to.join("x"), &error));
        }
    }

    fn settle(&mut self, from: &Path, to: &Path, name: &str) {
        let marks = [from.join(name), to.join(name)].map(|path| path.metadata().map(|m| mark(&m)));
        if let [Ok(source), Ok(there)] = marks {
            self.settled.insert(name.to_owned(), (source, there));
        }
    }

    fn one(
        &mut self,
        manifest: &mut Manifest,
        from: &Path,
        to: &Path,
        name: &str,
    ) -> io::Result<()> {
        let (source, path) = (from.join(name), to.join(name));
        self.newer.remove(name);
        let ours = sum(&source)?;
        let step = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Step::Install,
            Err(error) => return Err(error),
            Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => decide(manifest, &source, &path, name, &ours)?,
        };
        match step {
            Step::Nothing => return Ok(()),
            Step::Leave(version) => {
                let ours = printed(&source)?.map(|ours| ours.to_string()).unwrap_or_default();
                let what = format!(
                    "{} is {version}, newer than this release's {ours}: it stays",
                    path.display()
                );
                tracing::info!("{what}");
                self.newer.insert(name.to_owned(), what);
                return Ok(());
            }
            Step::Save => {
                let saved = manifest.save(name)?;
                tracing::info!(
                    "{}: the one that was there is kept as {}",
                    path.display(),
                    saved.display()
                );
            }
            Step::Install => {}
        }
        manifest.add(name, &ours)?;
        put(&source, &path)?;
        tracing::info!("installed {}", path.display());
        Ok(())
    }
}

/// Compares the file that is there with the one to install.
fn decide(
    manifest: &Manifest,
    source: &Path,
    path: &Path,
    name: &str,
    ours: &str,
) -> io::Result<Step> {
    let there = match sum(path) {
        // A symbolic link to nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Step::Save),
        there => there?,
    };
    if there == ours {
        let runs = path.metadata()?.mode() & 0o111 == 0o111;
        return Ok(if runs { Step::Nothing } else { Step::Install });
    }
    let listed = manifest.has(name, &there);
    Ok(step(printed(source)?.as_ref(), printed(path)?.as_ref(), listed))
}

/// The names of the executables in a folder.
fn executables(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let meta = entry.path().metadata()?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if meta.is_file() && meta.mode() & 0o100 != 0 && !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Copies an executable in one step: a process that runs the old one keeps it.
fn put(source: &Path, path: &Path) -> io::Result<()> {
    let aside = aside(path);
    let copy = || {
        let mut from = File::open(source)?;
        let mut file = files::create(&aside, MODE)?;
        io::copy(&mut from, &mut file)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.sync_all()?;
        drop(file);
        fs::rename(&aside, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    let copied = copy();
    if copied.is_err() {
        let _ = remove(&aside);
    }
    copied
}

/// What removing the executables did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// What went, in words.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub stays: Vec<String>,
}

/// Removes the executables that are as they were installed; what was there before comes back.
///
/// # Errors
/// The file system refuses, or another program installs at this moment.
pub fn uninstall(cni: &Cni) -> io::Result<Removed> {
    let mut done = Removed::default();
    let to = &cni.bin_dir;
    if !to.join(".ferrule-manifest").exists() {
        return Ok(done);
    }
    let Some(mut manifest) = Manifest::take(to)? else {
        return Err(io::Error::other(
            "another program installs there at this moment: run it again",
        ));
    };
    for name in manifest.names() {
        let (path, saved) = (to.join(&name), manifest.saved(&name));
        let shown = path.display();
        let listed = sum(&path).is_ok_and(|sum| manifest.has(&name, &sum));
        if !listed && path.symlink_metadata().is_ok() {
            done.stays.push(format!("{shown} is not as it was installed: it stays"));
        } else if saved.symlink_metadata().is_ok() {
            fs::rename(&saved, &path)?;
            done.removed.push(format!("{shown}; the one from before is back"));
        } else if listed {
            remove(&path)?;
            done.removed.push(shown.to_string());
        }
        manifest.forget(&name);
    }
    manifest.end()?;
    Ok(done)
}

#[cfg(test)]
mod tests;
