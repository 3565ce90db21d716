//! Connections that a change ended. Without the kernel's memory of one, the next packet of its other
//! end would begin it again, as that one's own (nf_conntrack_tcp_loose), and might be admitted.

use std::net::IpAddr;

use super::Family;
use super::frame::{FAMILIES, POLICY, names};
use super::keys;
use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::set::Span;

/// A connection as a packet of its first sender has it in hook forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// Who began it.
    pub source: IpAddr,
    /// Who answers, after translation.
    pub destination: IpAddr,
    /// Its protocol's number.
    pub protocol: u8,
    /// The source's port.
    pub source_port: u16,
    /// The destination's port, after translation.
    pub destination_port: u16,
}

impl Connection {
    fn spans(&self) -> [Span; 2] {
        let (ends, ports) =
            ([self.source, self.destination], [self.source_port, self.destination_port]);
        let key = |ends, ports| keys::connection(ends, self.protocol, ports);
        let [one, other] = [key(ends, ports), key([ends[1], ends[0]], [ports[1], ports[0]])];
        [one, other].map(|first| Span { first, end: None })
    }
}

impl Nft {
    /// Drops the packets of connections, of both directions, for 20 minutes.
    ///
    /// # Errors
    /// As the kernel reports them; ENFILE where 65,535 are cut already.
    pub fn cut(&mut self, connections: &[Connection]) -> Result<()> {
        let mut batch = Batch::new(POLICY);
        for family in FAMILIES {
            let of_family = connections.iter().filter(|c| Family::of(c.source) == family);
            let spans: Vec<_> = of_family.flat_map(Connection::spans).collect();
            batch.put_spans(&names(family).cut, &spans.iter().collect::<Vec<_>>());
        }
        if batch.steps().is_empty() { Ok(()) } else { self.socket.commit(&batch, None) }
    }

    /// Lets connections that were cut begin again.
    ///
    /// # Errors
    /// As the kernel reports them; that one is not cut any more is success.
    pub fn uncut(&mut self, connections: &[Connection]) -> Result<()> {
        for connection in connections {
            for span in connection.spans() {
                let mut batch = Batch::new(POLICY);
                batch.del_element(&names(Family::of(connection.source)).cut, &span.first);
                self.commit_removal(&batch, None)?;
            }
        }
        Ok(())
    }
}
