//! Where one document ends and the next begins.
//!
//! A separator stands at the start of a line, where no scalar of YAML may hold it (YAML 1.2, 9.1.2), so documents can be
//! cut apart before they are parsed, and a syntax error costs the one document that has it.

/// A document's text, and the line (from 1) on which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) line: u32,
}

/// Cuts a stream into documents. Pieces without content are left out.
pub(super) fn split(stream: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut at, mut line) = (0, 1, 0, 1);
    for text in stream.split_inclusive('\n') {
        let next = at + text.len();
        if separates(text, "---") {
            push(&mut pieces, &stream[start..at], start_line);
            // Content may follow on the line of the separator itself.
            (start, start_line) = (at + 3, line);
        } else if separates(text, "...") {
            push(&mut pieces, &stream[start..at], start_line);
            (start, start_line) = (next, line + 1);
        }
        (at, line) = (next, line + 1);
    }
    push(&mut pieces, &stream[start..], start_line);
    pieces
}

fn separates(line: &str, mark: &str) -> bool {
    line.strip_prefix(mark)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn push<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, line: u32) {
    // Directives (`%YAML 1.2`) stand in front of a separator and say nothing that matters here.
    let empty = text
        .lines()
        .map(str::trim_start)
        .all(|l| l.is_empty() || l.starts_with(['#', '%', '\u{feff}']));
    if !empty {
        pieces.push(Piece { text, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_cut_only_at_the_start_of_a_line() {
        let cases: [(&str, &[(&str, u32)]); 7] = [
            ("a: 1\n", &[("a: 1\n", 1)]),
            ("a: 1\n---\nb: 2\n", &[("a: 1\n", 1), ("\nb: 2\n", 2)]),
            ("---\n# only a remark\n---\nb: 2", &[("\nb: 2", 3)]),
            ("--- {a: 1}\n", &[(" {a: 1}\n", 1)]),
            ("a: 1\n...\nb: 2\n", &[("a: 1\n", 1), ("b: 2\n", 3)]),
            ("%YAML 1.2\n---\na: |\n  ---\n  x\n", &[("\na: |\n  ---\n  x\n", 2)]),
            ("a: 1\r\n---\r\nb: ---x\r\n", &[("a: 1\r\n", 1), ("\r\nb: ---x\r\n", 2)]),
        ];
        for (stream, expected) in cases {
            let got: Vec<_> = split(stream).iter().map(|p| (p.text, p.line)).collect();
            assert_eq!(got, expected, "{stream:?}");
        }
    }
}
