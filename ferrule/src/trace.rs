//! `ferrule trace`: the way of a packet through this node, by asking the kernel at each hop.

mod inside;
mod node;
mod picture;
mod step;
mod tunnel;
mod walk;

pub use picture::picture;
pub use step::{State, Step, Trace};
pub use walk::walk;
