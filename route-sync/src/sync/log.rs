//! What is logged of many changes at once.

/// Why what other programs did to our objects is undone.
pub const REPAIR: &str = "another program changed it";
/// Lines of one pass that are logged one by one; of more only their number.
pub const LOGGED: usize = 20;
