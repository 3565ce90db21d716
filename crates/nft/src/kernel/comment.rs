//! Comments: how an object of ours is recognised.
//!
//! nf_tables keeps an opaque string of bytes (userdata) with tables, chains, rules, sets and
//! elements. The `nft` tool lays it out as a list of (type: u8, length: u8, value); in chains
//! (NFTNL_UDATA_CHAIN_COMMENT) and set elements (NFTNL_UDATA_SET_ELEM_COMMENT) type 0 is the
//! comment, a text that ends in a NUL which the length counts.

/// The longest comment, in bytes without the NUL. `nft` refuses to load a longer one than 128
/// (NFTNL_UDATA_COMMENT_MAXLEN), some versions counting the NUL, so that a ruleset saved with it
/// could not be restored.
pub const COMMENT_MAX: usize = 127;

const COMMENT: u8 = 0;

/// Makes a text fit for a comment: at most [`COMMENT_MAX`] bytes, cut at a character boundary.
///
/// `nft` prints a comment between double quotes and knows no escapes, so a quote, a line break
/// or another control character would make a saved ruleset unloadable; each becomes `_`.
/// Every function of this crate applies it to the comments it is given, and it is idempotent.
#[must_use]
pub fn fit(text: &str) -> String {
    let mut fitted = String::with_capacity(text.len().min(COMMENT_MAX));
    for c in text.chars().map(|c| if c == '"' || c.is_control() { '_' } else { c }) {
        if fitted.len() + c.len_utf8() > COMMENT_MAX {
            break;
        }
        fitted.push(c);
    }
    fitted
}

/// The userdata that holds a comment.
pub(crate) fn to_userdata(comment: &str) -> Vec<u8> {
    let comment = fit(comment);
    // `fit` bounds the length to COMMENT_MAX; with the NUL it is 128 at most.
    let len = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut userdata = vec![COMMENT, len];
    userdata.extend_from_slice(comment.as_bytes());
    userdata.push(0);
    userdata
}

/// The comment in an element's or a chain's userdata; None when it holds none, or not in UTF-8.
pub(crate) fn from_userdata(mut userdata: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*len))?;
        if *kind == COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8(text.to_vec()).ok();
        }
        userdata = rest.get(usize::from(*len)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_what_the_nft_tool_writes() {
        assert_eq!(to_userdata("aaa"), b"\x00\x04aaa\x00");
        assert_eq!(to_userdata(""), b"\x00\x01\x00");
    }

    #[test]
    fn a_comment_is_found_behind_other_userdata() {
        assert_eq!(from_userdata(b"\x01\x02xx\x00\x04aaa\x00").as_deref(), Some("aaa"));
        assert_eq!(from_userdata(b"\x01\x02xx"), None);
        assert_eq!(from_userdata(b""), None);
        assert_eq!(from_userdata(b"\x00"), None);
        assert_eq!(from_userdata(b"\x00\x09short"), None);
        assert_eq!(from_userdata(b"\x00\x02\xff\x00"), None);
    }

    #[test]
    fn a_character_is_never_cut() {
        let text = format!("{}é", "x".repeat(126));
        assert_eq!(fit(&text), "x".repeat(126));
        let text = format!("{}é", "x".repeat(125));
        assert_eq!(fit(&text), text);
    }

    proptest! {
        #[test]
        fn fitting_keeps_a_prefix_within_the_limit(text in "\\PC{0,200}") {
            let fitted = fit(&text);
            prop_assert!(fitted.len() <= COMMENT_MAX);
            prop_assert!(text.replace('"', "_").starts_with(&fitted));
            // The next character, if any was cut, would not have fitted.
            if let Some(next) = text.replace('"', "_")[fitted.len()..].chars().next() {
                prop_assert!(fitted.len() + next.len_utf8() > COMMENT_MAX);
            }
        }

        #[test]
        fn any_text_survives_the_kernel_and_the_tool(text in any::<String>()) {
            let fitted = fit(&text);
            prop_assert_eq!(fit(&fitted), fitted.clone());
            prop_assert!(!fitted.contains(['"', '\n', '\0']));
            prop_assert!(to_userdata(&text).len() <= COMMENT_MAX + 3);
            prop_assert_eq!(from_userdata(&to_userdata(&text)), Some(fitted));
        }

        #[test]
        fn foreign_userdata_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = from_userdata(&bytes);
        }
    }
}
