//! How a string is compared.

use crate::decode::Field;
use crate::validate;

/// A condition on one string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with; never empty but for uris.
    Prefix(String),
    /// The whole value matches this RE2 expression; it has been compiled once and is known to be good.
    Regex(String),
    /// There is a value at all: `{}`, or `regex: "*"` in `withoutHeaders`.
    Present,
}

/// What is special about the place of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchPlace {
    /// A path: an empty prefix means every path.
    Uri,
    /// `withoutHeaders`: the regex `*` means presence.
    WithoutHeader,
    /// Anywhere else.
    Other,
}

impl StringMatch {
    pub(crate) fn read(field: &Field<'_>, place: MatchPlace) -> Option<Self> {
        if field.is_null() {
            field.error("is null", "write `{}` to ask only for presence");
            return None;
        }
        let mut fields = field.fields()?;
        let exact = fields.field("exact");
        let prefix = fields.field("prefix");
        let regex = fields.field("regex");
        fields.finish();
        let given = [&exact, &prefix, &regex].into_iter().flatten().count();
        if given > 1 {
            field.error("has more than one condition", "keep one of exact, prefix and regex");
            return None;
        }
        if let Some(exact) = exact {
            return exact.text().map(|text| Self::Exact(text.to_owned()));
        }
        if let Some(prefix) = prefix {
            let text = prefix.text()?;
            if text.is_empty() && place != MatchPlace::Uri {
                prefix.error("is empty", "give a prefix, or `{}` to ask only for presence");
            }
            return Some(Self::Prefix(text.to_owned()));
        }
        let Some(regex) = regex else {
            return Some(Self::Present);
        };
        let text = regex.text()?;
        if text == "*" && place == MatchPlace::WithoutHeader {
            return Some(Self::Present);
        }
        regex
            .check(validate::regex(text))
            .map(|()| Self::Regex(text.to_owned()))
    }
}
