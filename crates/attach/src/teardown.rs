//! What removing an attachment needs of a plugin and of its configuration.

use crate::{Kernel, Link, Maker};
use cni::{Attachment, Error, Request, Result};
use std::path::PathBuf;

/// What DEL and GC need. They have no valid configuration for sure: it may have been changed since
/// ADD.
pub struct Teardown<'a> {
    /// The plugin.
    pub maker: Maker,
    /// `runDir`.
    pub run_dir: PathBuf,
    /// How attachments are found that another suite made; `None` where no other suite has made any.
    pub foreign: Option<&'a dyn Foreign>,
}

/// Finds attachments that another suite made, before its executables were replaced by ours.
pub trait Foreign {
    /// Sets the host end of the attachment's veth pair down, if it is known for certain which it is.
    ///
    /// # Errors
    /// The kernel's.
    fn silence(
        &self,
        request: &Request,
        kernel: &mut Kernel,
        attachment: &Attachment,
    ) -> Result<Option<Link>>;

    /// Removes the attachment's rules.
    ///
    /// # Errors
    /// The kernel's.
    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()>;

    /// Whether a record that is there and cannot be read fails DEL of a pod that lives: nothing else
    /// says what is to be restored.
    fn needs_record(&self) -> bool {
        false
    }

    /// Removes attachments that are not in GC's list of valid ones, and rules of those whose pods
    /// are gone; gives what failed. What could not be removed is added to `kept`.
    fn gc(&self, request: &Request, kernel: &mut Kernel, kept: &mut Vec<Attachment>) -> Vec<Error>;
}
