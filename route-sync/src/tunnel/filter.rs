//! Notifications about neighbours: only those of the tunnel's device are received.

use net::NeighbourFilter;
use tracing::warn;

/// The filter of the daemon's monitor.
#[derive(Default)]
pub struct Filter(Option<(NeighbourFilter, Option<u32>)>);

impl Filter {
    /// A filter that lets no neighbours through yet.
    pub fn new(filter: NeighbourFilter) -> Filter {
        match filter.only(None) {
            Ok(()) => Filter(Some((filter, None))),
            // Other links' neighbours are ignored later, which costs more.
            Err(error) => {
                warn!("{error}");
                Filter(None)
            }
        }
    }

    /// Lets those of this device through, before they are read.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn only(&mut self, device: Option<u32>) -> net::Result<()> {
        let Some((filter, of)) = &mut self.0 else { return Ok(()) };
        if *of != device {
            filter.only(device)?;
            *of = device;
        }
        Ok(())
    }
}
