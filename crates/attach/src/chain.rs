//! A plugin that stands behind another in a network's list: what it adds to an attachment that is
//! there already, by the same items, records and marks. DEL and GC are [`crate::del`] and [`crate::gc`].

use crate::backup::Backup;
use crate::record::{Record, Records};
use crate::{Item, Kernel, Maker, del, failed};
use cni::{Attachment, CniResult, Error, Request, Result, code};
use std::path::Path;

/// A chained plugin's configuration, and what it makes of an attachment.
pub trait Chained {
    /// The name of its executable, which its records and marks carry.
    const NAME: &'static str;

    /// `runDir`.
    fn run_dir(&self) -> &Path;

    /// What must exist because of the result of the plugins before; a pure function. Its nftables
    /// elements carry `comment`.
    ///
    /// # Errors
    /// Code 7 where the result does not fit.
    fn plan(&self, request: &Request, result: &CniResult, comment: &str) -> Result<Vec<Item>>;

    /// What the plugins before said, with what this one changed of it.
    fn result(&self, _request: &Request, result: &CniResult) -> CniResult {
        result.clone()
    }

    /// Where the reference keeps what its plugin of this name changed of a link, if it does.
    fn backup(&self, _request: &Request) -> Option<Backup> {
        None
    }
}

fn previous<'a>(request: &'a Request, why: &str) -> Result<&'a CniResult> {
    let missing = || Error::config("Required prevResult missing").details(why);
    request.conf.prev_result.as_ref().ok_or_else(missing)
}

/// Whether a plugin stands before the one of this name, in the words of the reference's firewall and vrf.
///
/// # Errors
/// Code 7 where there is no result.
pub fn needs_result(request: &Request, name: &str) -> Result<()> {
    let missing = || {
        Error::config("missing prevResult from earlier plugin").details(format!(
            "Required prevResult missing: put {name} behind a main plugin, such as bridge, in a conflist"
        ))
    };
    request.conf.prev_result.as_ref().map(drop).ok_or_else(missing)
}

fn plan<C: Chained>(request: &Request, chained: &C, result: &CniResult) -> Result<Vec<Item>> {
    let comment = Maker::Chained(C::NAME).comment(&request.attachment());
    chained.plan(request, result, &comment)
}

/// Adds what the plugin makes, and gives the result of the plugins before. What an earlier ADD of the
/// attachment left is removed first.
///
/// # Errors
/// What the runtime receives; nothing of this plugin is left.
pub fn add<C: Chained>(request: &Request, chained: &C) -> Result<CniResult> {
    add_with(request, chained, || Kernel::open(request.env.netns.as_deref()))
}

/// As [`add`], with a kernel that was asked something already.
///
/// # Errors
/// As [`add`].
pub fn add_with<C: Chained>(
    request: &Request,
    chained: &C,
    open: impl FnOnce() -> crate::kernel::Result<Kernel>,
) -> Result<CniResult> {
    let result =
        previous(request, "the plugin adds to an attachment: put it behind a main plugin")?;
    let mut items = plan(request, chained, result)?;
    let maker = Maker::Chained(C::NAME);
    let attachment = request.attachment();
    let mut kernel = open().map_err(|e| failed(&e))?;
    let mut claim = Records::new(chained.run_dir(), maker).claim(&attachment)?;
    let backup = chained.backup(request);
    let mut saved = Vec::new();
    if let Some(record) = &mut claim.record {
        kernel.retain_set(&mut record.owned).map_err(|e| failed(&e))?;
        let gone = del::Gone { attachment: &attachment, record: Some(record), maker };
        del::release(request, &mut kernel, &gone, None)?;
    } else {
        saved = backup.as_ref().map(Backup::settings).unwrap_or_default();
    }
    let mut done = Vec::new();
    let made = kernel.note_before(&mut items, &saved).map_err(|e| failed(&e)).and_then(|()| {
        let mut record = record_of::<C>(&attachment);
        record.own(&items);
        claim.write(&record)?;
        backup.as_ref().map_or(Ok(()), |backup| backup.write(&items, &saved))?;
        kernel.apply(&items, &mut done).map_err(|e| failed(&e))?;
        record.complete = true;
        claim.write(&record)
    });
    let Err(error) = made else { return Ok(chained.result(request, result)) };
    let problems = kernel.remove(&done, &maker.mark(&attachment));
    let mut problems: Vec<Error> = problems.iter().map(failed).collect();
    if problems.is_empty() {
        problems.extend(backup.and_then(|backup| backup.remove().err()));
        problems.extend(claim.remove().err());
    }
    Err(del::undone(error, problems))
}

fn record_of<C: Chained>(attachment: &Attachment) -> Record {
    Record {
        network: attachment.network.clone(),
        container_id: attachment.container_id.clone(),
        ifname: attachment.ifname.clone(),
        plugin: C::NAME.to_owned(),
        ..Record::default()
    }
}

/// Compares what the plugin makes with the kernel.
///
/// # Errors
/// Code 100 with what differs.
pub fn check<C: Chained>(request: &Request, chained: &C) -> Result<()> {
    check_with(request, chained, || Kernel::open(request.env.netns.as_deref()))
}

/// As [`check`], with a kernel that was asked something already.
///
/// # Errors
/// As [`check`].
pub fn check_with<C: Chained>(
    request: &Request,
    chained: &C,
    open: impl FnOnce() -> crate::kernel::Result<Kernel>,
) -> Result<()> {
    let why = "CHECK compares the node with the result of ADD, which the runtime keeps";
    let items = plan(request, chained, previous(request, why)?)?;
    let mut kernel = open().map_err(|e| failed(&e))?;
    let differences = kernel.check(&items).map_err(|error| failed(&error))?;
    if differences.is_empty() {
        return Ok(());
    }
    let msg =
        format!("{} of {} is not as it was made", request.env.ifname, request.env.container_id);
    Err(Error::new(code::CHECK_FAILED, msg).details(differences.join("; ")))
}
