use super::pattern::Pattern;

/// A test of a text. Comparisons are of bytes; `ignore_case` folds ASCII only, as Envoy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// The same text.
    Exact(Text),
    /// Starts with it.
    Prefix(Text),
    /// Ends with it.
    Suffix(Text),
    /// Has it somewhere.
    Contains(Text),
    /// The whole text matches the expression. Case is the expression's own business.
    Regex(Pattern),
}

/// A literal and how it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The literal, lower-cased when case is ignored.
    pub value: Box<str>,
    /// ASCII case is ignored.
    pub ignore_case: bool,
}

impl Text {
    /// A literal.
    pub fn new(value: &str, ignore_case: bool) -> Self {
        let value = if ignore_case {
            value.to_ascii_lowercase()
        } else {
            value.to_owned()
        };
        Self {
            value: value.into(),
            ignore_case,
        }
    }

    fn same(&self, bytes: &[u8]) -> bool {
        let value = self.value.as_bytes();
        if self.ignore_case {
            bytes.eq_ignore_ascii_case(value)
        } else {
            bytes == value
        }
    }

    /// Whether the bytes are the literal.
    pub fn equals(&self, bytes: &[u8]) -> bool {
        self.same(bytes)
    }

    /// Whether the bytes start with the literal.
    pub fn starts(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.value.len()).is_some_and(|head| self.same(head))
    }

    fn ends(&self, bytes: &[u8]) -> bool {
        bytes
            .len()
            .checked_sub(self.value.len())
            .is_some_and(|at| self.same(&bytes[at..]))
    }

    fn within(&self, bytes: &[u8]) -> bool {
        self.value.is_empty() || bytes.windows(self.value.len()).any(|window| self.same(window))
    }
}

impl StringMatch {
    /// Whether the text passes.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(literal) => literal.same(text),
            Self::Prefix(literal) => literal.starts(text),
            Self::Suffix(literal) => literal.ends(text),
            Self::Contains(literal) => literal.within(text),
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}
