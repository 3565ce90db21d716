//! Routes: what must exist ([`plan`], [`desired`]), what of it the kernel lacks ([`diff`]), what the
//! kernel refuses ([`failures`]), and the state of each pod CIDR ([`conditions`]).

pub mod conditions;
pub mod desired;
pub mod diff;
pub mod earlier;
pub mod failures;
pub mod learned;
pub mod plan;
pub mod protocols;
pub mod reserved;
