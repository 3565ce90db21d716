//! Removes all that was installed for `[cni]`, and all that the daemon made; no pod's link.

use crate::cleanup::{Cleaned, hold};
use crate::config::Config;
use crate::config::cni::Cni;
use crate::duties::conflist::{self, Gone};
use crate::duties::{executables, network};
use crate::error::{Error, io_error};
use daemon::signals;
use std::fs;
use std::path::Path;

/// Removes conflist, executables, the kept state, and what a cleanup removes, in this order: the
/// runtime begins no pod with what is about to go. After a failure it continues with the rest.
/// Executables stay as long as pods are attached, since their deletion needs them, unless it is
/// `force`d.
///
/// # Errors
/// A daemon runs, or it cannot be determined whether one does: nothing is removed.
pub fn uninstall(config: &Config, force: bool) -> Result<Cleaned, Error> {
    let _lock = hold(config)?;
    let mut cleaned = Cleaned::default();
    if let Some(cni) = &config.cni {
        cleaned.conflist(cni, &config.state_dir);
        cleaned.executables(cni, if force { 0 } else { attached(&config.run_dir) });
    }
    cleaned.node(config);
    // Only where nothing is left in it.
    let _ = fs::remove_dir(&config.state_dir);
    Ok(cleaned)
}

/// Waits for SIGTERM or SIGINT. The first process of a container ignores both unless it catches them.
///
/// # Errors
/// The signals cannot be caught.
pub fn wait_for_stop() -> Result<(), Error> {
    let failed = || io_error("wait for signals");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.map_err(failed())?.block_on(async {
        signals::stop().map_err(failed())?.recv().await;
        Ok(())
    })
}

/// How many attachments of pods there are records of.
fn attached(run_dir: &Path) -> usize {
    run_dir.join("attachments").read_dir().map_or(0, |records| records.flatten().count())
}

impl Cleaned {
    fn conflist(&mut self, cni: &Cni, state_dir: &Path) {
        let path = cni.conflist();
        let gone = conflist::take_away(cni, state_dir, network(cni).as_ref());
        let what = format!("remove {}", path.display());
        match self.good(gone.map_err(io_error(&what))) {
            None | Some(Gone::Absent) => {}
            Some(Gone::NotOurs(why)) => self.stays.push(format!("{} stays: {why}", path.display())),
            Some(Gone::Removed(others)) => {
                self.removed.push(path.display().to_string());
                let other = |plugin| format!("it also had the plugin of another program: {plugin}");
                self.stays.extend(others.iter().map(other));
            }
        }
        let replaced = conflist::replaced(&path, state_dir);
        if replaced.exists() {
            self.stays.push(format!("{} stays: it holds changes of others", replaced.display()));
        }
    }

    fn executables(&mut self, cni: &Cni, attached: usize) {
        if cni.executables.is_none() {
            return;
        }
        let folder = cni.bin_dir.display();
        if attached > 0 {
            let what = format!(
                "the executables in {folder} stay: {attached} attachments of pods need them to be \
                 deleted; run it again when these pods are gone, or with --force"
            );
            return self.stays.push(what);
        }
        let done = executables::uninstall(cni).map_err(io_error(&format!("remove from {folder}")));
        if let Some(executables::Removed { removed, stays }) = self.good(done) {
            self.removed.extend(removed);
            self.stays.extend(stays);
        }
    }
}
