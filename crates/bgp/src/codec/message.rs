//! Messages: where one ends in a stream, and what it is.

use super::notification::{Notification, code};
use super::open::Open;
use super::reader::Reader;
use super::update::{self, Update};
use super::{
    Context, Family, HEADER, KEEPALIVE, MAX_MESSAGE, Malformed, NOTIFICATION, OPEN, ROUTE_REFRESH,
    UPDATE,
};

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 section 4.2.
    Open(Open),
    /// RFC 4271 section 4.3.
    Update(Update),
    /// RFC 4271 section 4.5.
    Notification(Notification),
    /// RFC 4271 section 4.4.
    Keepalive,
    /// RFC 2918: send this family again. `None` is a family that is not ours, or a subtype of
    /// RFC 7313, which is never offered; to be ignored.
    RouteRefresh(Option<Family>),
}

/// The length in bytes of the message that `stream` begins with, or `None` while its header is
/// incomplete. Whether the rest has come is for the caller to see; a wrong header shows at once.
///
/// # Errors
/// Marker, length or type is wrong (RFC 4271 section 6.1).
pub fn frame(stream: &[u8]) -> Result<Option<usize>, Malformed> {
    let marker = stream.len().min(16);
    if stream.iter().take(marker).any(|byte| *byte != 0xff) {
        let why = "what the peer sends is not BGP: the marker of a message is not all ones";
        return Err(Malformed::new(code::HEADER, 1, &[], why));
    }
    let Some([high, low, kind]) = stream.get(16..HEADER) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (least, most) = match *kind {
        OPEN => (29, MAX_MESSAGE),
        UPDATE => (23, MAX_MESSAGE),
        NOTIFICATION => (21, MAX_MESSAGE),
        KEEPALIVE => (HEADER, HEADER),
        ROUTE_REFRESH => (23, MAX_MESSAGE),
        other => {
            let why = format!("the peer sent a message of the unknown type {other}");
            return Err(Malformed::new(code::HEADER, 3, &[other], why));
        }
    };
    if !(least..=most).contains(&length) {
        let why = format!("the peer sent a message of type {kind} and {length} bytes");
        return Err(Malformed::new(code::HEADER, 2, &[*high, *low], why));
    }
    Ok(Some(length))
}

/// Reads one whole message, as long as [`frame`] said. Arbitrary bytes are answered, never panic.
///
/// # Errors
/// What RFC 4271 section 6 and RFC 7606 end the session for.
pub fn decode(message: &[u8], context: &Context) -> Result<Message, Malformed> {
    let whole = frame(message)? == Some(message.len());
    let (true, Some(kind), Some(body)) = (whole, message.get(18), message.get(HEADER..)) else {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
        return Err(Malformed::new(code::HEADER, 2, &length, "a message is not whole"));
    };
    Ok(match *kind {
        OPEN => Message::Open(Open::decode(body)?),
        UPDATE => Message::Update(update::decode(body, context)?),
        NOTIFICATION => Message::Notification(Notification::decode(body)),
        ROUTE_REFRESH => Message::RouteRefresh(refresh(body)),
        _ => Message::Keepalive,
    })
}

fn refresh(body: &[u8]) -> Option<Family> {
    let mut reader = Reader(body);
    let (afi, subtype, safi) = (reader.u16()?, reader.u8()?, reader.u8()?);
    if subtype == 0 && reader.0.is_empty() { Family::of_wire(afi, safi) } else { None }
}
