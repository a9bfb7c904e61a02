use std::sync::Arc;

/// Upper bound of one compiled expression: enough for what RE2 takes in Istio's 1024 characters, small enough for thousands.
pub const REGEX_SIZE_MAX: usize = 1 << 20;

/// A regular expression over bytes: linear time, ASCII classes as RE2 has them.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Arc<str>,
    full: regex::bytes::Regex,
    search: regex::bytes::Regex,
}

impl Pattern {
    /// Compiles an expression in RE2 syntax.
    ///
    /// # Errors
    /// What this engine cannot take is refused with its reason, never silently changed.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let build = |text: &str| {
            regex::bytes::RegexBuilder::new(text)
                .unicode(false)
                .size_limit(REGEX_SIZE_MAX)
                .build()
                .map_err(|error| PatternError {
                    pattern: source.into(),
                    reason: error.to_string(),
                })
        };
        let source_text = unquote(source);
        Ok(Self {
            source: source.into(),
            search: build(&source_text)?,
            full: build(&format!("\\A(?:{source_text})\\z"))?,
        })
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.full.is_match(text)
    }

    /// Replaces every non-overlapping match; `\1` in the substitution is the first group, `\0` the whole match.
    pub fn replace_all(&self, text: &[u8], substitution: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + substitution.len());
        let mut copied = 0;
        for groups in self.search.captures_iter(text) {
            let Some(whole) = groups.get(0) else { continue };
            out.extend_from_slice(&text[copied..whole.start()]);
            expand(substitution.as_bytes(), &groups, &mut out);
            copied = whole.end();
        }
        out.extend_from_slice(&text[copied..]);
        out
    }

    /// How many groups a substitution may refer to, the whole match not counted.
    pub fn groups(&self) -> usize {
        self.search.captures_len() - 1
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// An expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regular expression {pattern:?}: {reason}")]
pub struct PatternError {
    /// The expression.
    pub pattern: String,
    /// The engine's words.
    pub reason: String,
}

fn expand(substitution: &[u8], groups: &regex::bytes::Captures<'_>, out: &mut Vec<u8>) {
    let mut bytes = substitution.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                if let Some(group) = groups.get(usize::from(digit - b'0')) {
                    out.extend_from_slice(group.as_bytes());
                }
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
}

/// RE2 has `\Q…\E` for literal text; the engine here has not.
fn unquote(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = find_quote(rest) {
        out.push_str(&rest[..at]);
        let quoted = &rest[at + 2..];
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Position of a `\Q` that is not itself escaped.
fn find_quote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] == b'\\' {
            if bytes[at + 1] == b'Q' {
                return Some(at);
            }
            at += 1;
        }
        at += 1;
    }
    None
}
