//! UIDs, as they may stand in an address.

/// Characters of a UID (PS3.5 6.2).
const MAX_UID: usize = 64;

/// A UID (PS3.5 9): digits and dots. As a part of an address it leads nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid(String);

impl Uid {
    /// `None` where a text is no UID.
    pub fn new(text: &str) -> Option<Self> {
        is_uid(text).then(|| Uid(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a UID. That it begins with a digit keeps `.` and `..` out of addresses.
pub(super) fn is_uid(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let begins = text.starts_with(|first: char| first.is_ascii_digit());
    begins && text.len() <= MAX_UID && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uid_is_of_digits_and_dots_and_of_bounded_length() {
        for good in ["1", "1.2.840.10008", &"1".repeat(64)] {
            assert_eq!(Uid::new(good).expect("a UID").as_str(), good);
        }
        let long = "1".repeat(65);
        for bad in ["", ".", "..", "1/2", "1.2?x", "1.2#", "1 2", "urn:oid:1.2", "1.٢", &long] {
            assert_eq!(Uid::new(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place_in_an_address(text in "[0-9./%?#a-z\\\\]{0,70}|\\PC{0,70}") {
            if let Some(uid) = Uid::new(&text) {
                let path = format!("/studies/{uid}/series");
                prop_assert_eq!(path.split('/').count(), 4);
                prop_assert!(!["", ".", ".."].contains(&uid.as_str()));
                prop_assert!(!path.contains(['%', '?', '#', '\\', ' ', '@']));
            }
        }
    }
}
