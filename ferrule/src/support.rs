//! `ferrule support`: one archive for a bug report, without secrets.

mod contents;
mod secrets;
mod tar;

pub use contents::{Member, members};
pub use secrets::without_secrets;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the members as a gzip'd tar archive, readable for this user alone. A file that exists is
/// not overwritten.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, folder: &str, members: &[Member], now: u64) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = GzEncoder::new(file, Compression::default());
    for Member { name, text } in members {
        // Once more for all, whatever a member was made of.
        let text = without_secrets(text);
        archive.write_all(&tar::member(&format!("{folder}/{name}"), text.as_bytes(), now))?;
    }
    archive.write_all(&tar::END)?;
    archive.finish()?.sync_all()
}
