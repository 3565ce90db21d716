//! The end of a session whose peer announces too much.

use super::super::PREFIXES_HOLD;
use super::super::connection::jittered;
use super::Session;
use crate::codec::{Family, Malformed, Notification, cease, code};

impl Session {
    /// RFC 4486 section 4: the NOTIFICATION names the family and the bound.
    pub(super) fn too_many(&mut self, family: Family, most: u32) {
        let Some(up) = self.established() else { return };
        let id = up.connection;
        let mut data = family.afi().to_be_bytes().to_vec();
        data.push(1);
        data.extend(most.to_be_bytes());
        let notification = Notification { code: code::CEASE, subcode: cease::PREFIXES, data };
        let why = format!(
            "the peer announces more than {most} {family} prefixes; the session begins anew after \
             {} s: have the peer announce fewer, or raise max-prefixes",
            PREFIXES_HOLD.as_secs()
        );
        self.fail(id, Malformed { notification, why });
        if self.rest.is_some() {
            self.rest = Some(self.now + jittered(PREFIXES_HOLD, self.random));
        }
    }
}
