//! Routes: what must exist ([`plan`], [`desired`]), what of it the kernel lacks ([`diff`]), and what
//! the kernel refuses.

pub mod desired;
pub mod diff;
pub mod learned;
pub mod plan;
pub mod protocols;
pub mod reserved;
