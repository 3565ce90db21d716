//! What DEL removes without a record: the reference's limits of the same attachment, or ours whose
//! record is lost. The device is found by its name, which both derive alike.

use crate::plan::ifb_names;
use attach::{Foreign, Kernel, Link, Maker, Place, Result as Done, failed};
use cni::{Attachment, Error, Request, Result};

/// Where limits may be.
pub(crate) struct Unrecorded {
    /// Host ends of veth pairs that may be the pod's.
    links: Vec<String>,
}

impl Unrecorded {
    /// What the result of ADD lists, and the name that our plugins give a host end.
    pub(crate) fn of(request: &Request) -> Unrecorded {
        let mut links = vec![request.attachment().host_veth()];
        let listed = request.conf.prev_result.iter().flat_map(|result| &result.interfaces);
        links.extend(listed.filter(|i| i.sandbox.is_empty()).map(|i| i.name.clone()));
        Unrecorded { links }
    }

    fn remove(&self, kernel: &mut Kernel, attachment: &Attachment) -> Done<()> {
        let ifbs = ifb_names(attachment);
        for name in &self.links {
            let is_veth = kernel.link(Place::Host, name)?.is_some_and(|link| link.kind == "veth");
            if is_veth {
                kernel.remove_rate_limit(name)?;
                ifbs.iter().try_for_each(|ifb| kernel.remove_redirect(name, ifb))?;
            }
        }
        let mark = Maker::Chained("bandwidth").mark(attachment);
        ifbs.iter().try_for_each(|ifb| kernel.remove_ifb(ifb, &mark))
    }
}

impl Foreign for Unrecorded {
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        self.remove(kernel, attachment).map_err(|error| failed(&error))
    }

    /// The reference's devices do not tell whose they are.
    fn gc(&self, _: &Request, _: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        Vec::new()
    }
}
