//! Why a session is not there, in words.

use crate::codec::Notification;
use std::fmt;

/// Why a session ended, or did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The administrator stopped it.
    Stopped,
    /// Nobody answered: the error of the dialling.
    Unreachable(String),
    /// Dialling took longer than the connect-retry time.
    ConnectTimeout,
    /// TCP ended, with its error.
    ConnectionLost(String),
    /// We ended it.
    Sent {
        /// The NOTIFICATION sent to the peer.
        notification: Notification,
        /// Why, with the offending value.
        why: String,
    },
    /// The peer ended it.
    Received(Notification),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Stopped => write!(f, "stopped here"),
            Reason::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Reason::ConnectTimeout => write!(f, "cannot connect: no answer"),
            Reason::ConnectionLost(error) => write!(f, "connection lost: {error}"),
            Reason::Sent { notification, why } => write!(f, "{why}; sent the peer {notification}"),
            Reason::Received(notification) => write!(f, "the peer says {notification}"),
        }
    }
}
