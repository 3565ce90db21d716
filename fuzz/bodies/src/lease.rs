//! A lease file.

use host_local::lease::{Holder, address_of, path};
use std::path::Path;

/// Its name, a NUL, and its content.
pub fn lease(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (name, content) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    if let Some(address) = std::str::from_utf8(name).ok().and_then(address_of) {
        let file = path(Path::new("/leases"), address);
        assert_eq!(file.as_os_str().as_encoded_bytes(), [b"/leases/", name].concat());
    }
    if let Some(holder) = Holder::parse(content) {
        assert!(!holder.container_id.is_empty() && holder.ifname.len() <= 15, "{holder:?}");
        assert_eq!(Holder::parse(holder.content().as_bytes()), Some(holder));
    }
}
