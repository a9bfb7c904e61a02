//! in → out: what clap says about a command line → help or version in print, or one line that says what would be right.
//! owns: the words of refusals that clap finds.
//! may not touch: what flags mean.

use std::error::Error as _;
use std::net::AddrParseError;
use std::num::{ParseFloatError, ParseIntError};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit::Exit;
use crate::print;

/// Ends a command line that clap did not take: help and version in print with 0, everything else in one line with 2.
pub fn refuse(program: &str, error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print::out(&error.render().to_string()) {
            Ok(()) => Exit::Fine.into(),
            Err(error) => {
                print::complain(program, &error);
                Exit::Failed.into()
            }
        },
        _ => {
            print::complain(program, &line(error));
            Exit::Usage.into()
        }
    }
}

/// What would be right, in one line.
fn line(error: &clap::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidValue => invalid_value(error),
        ErrorKind::ValueValidation => unread_value(error),
        ErrorKind::UnknownArgument => unknown_argument(error),
        ErrorKind::MissingRequiredArgument => missing_argument(error),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Some("a verb is missing: --help lists them".to_owned())
        }
        ErrorKind::InvalidSubcommand => text(error, ContextKind::InvalidSubcommand).map(|verb| {
            format!(
                "{verb:?}: there is no such verb: {}",
                suggestion(error, ContextKind::SuggestedSubcommand)
            )
        }),
        _ => None,
    }
    .unwrap_or_else(|| first_paragraph(error))
}

/// A value that is not among those that a flag has.
fn invalid_value(error: &clap::Error) -> Option<String> {
    let flag = flag(error)?;
    let wanted = listed(&texts(error, ContextKind::ValidValue), "or", "", "");
    let wanted = wanted.trim_end();
    Some(match text(error, ContextKind::InvalidValue).as_deref() {
        None | Some("") if wanted.is_empty() => format!("{flag}: needs a value"),
        None | Some("") => format!("{flag}: needs a value: {wanted}"),
        Some(value) => format!("{flag} {value:?}: must be {wanted}"),
    })
}

/// A value that is not of its flag's kind.
fn unread_value(error: &clap::Error) -> Option<String> {
    let source = error.source()?;
    let wanted = if source.is::<ParseIntError>() {
        "must be a whole number, at least 0 and not too large".to_owned()
    } else if source.is::<ParseFloatError>() {
        "must be a number".to_owned()
    } else if source.is::<AddrParseError>() {
        "must be ADDRESS:PORT, for example 127.0.0.1:8080 or [::1]:8080".to_owned()
    } else {
        source.to_string()
    };
    let value = text(error, ContextKind::InvalidValue)?;
    Some(format!("{} {value:?}: {wanted}", flag(error)?))
}

fn missing_argument(error: &clap::Error) -> Option<String> {
    let missing = texts(error, ContextKind::InvalidArg);
    let missing = listed(&missing, "and", "is", "are");
    (!missing.is_empty()).then_some(format!("{missing} missing: {}", usage(error)?))
}

fn unknown_argument(error: &clap::Error) -> Option<String> {
    let unknown = text(error, ContextKind::InvalidArg)?;
    Some(if unknown.starts_with('-') {
        format!(
            "{unknown:?}: there is no such flag: {}",
            suggestion(error, ContextKind::SuggestedArg)
        )
    } else {
        format!("{unknown:?}: is one argument too many: {}", usage(error)?)
    })
}

fn suggestion(error: &clap::Error, kind: ContextKind) -> String {
    match texts(error, kind).first() {
        Some(near) => format!("{near} is one"),
        None => "--help lists them".to_owned(),
    }
}

/// The flag of a wrong value, without the name of its value.
fn flag(error: &clap::Error) -> Option<String> {
    let argument = text(error, ContextKind::InvalidArg)?;
    Some(argument.split_whitespace().next()?.to_owned())
}

/// How the verb is called: clap's usage without its heading.
fn usage(error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage)?.to_string();
    let usage: Vec<&str> = usage.split_whitespace().skip_while(|word| *word == "Usage:").collect();
    Some(usage.join(" "))
}

/// What clap says itself, without its hints.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    texts(error, kind).into_iter().next()
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `a`, `a or b`, `a, b or c`, and the verb of one or of several.
fn listed(words: &[String], last: &str, one: &str, several: &str) -> String {
    match words {
        [] => String::new(),
        [word] => format!("{word} {one}"),
        [first @ .., word] => format!("{} {last} {word} {several}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::app::Args;

    #[test]
    fn whatever_clap_refuses_is_one_line_that_says_what_would_be_right() {
        for (arguments, wanted) in [
            ("", "<[WEIGHT:]URL>... is missing: weft-load <[WEIGHT:]URL>..."),
            (
                "http://x/ --no-such-flag",
                "\"--no-such-flag\": there is no such flag: --help lists them",
            ),
            (
                "http://x/ --conections 3",
                "\"--conections\": there is no such flag: --connections is one",
            ),
            (
                "http://x/ --output nonsense",
                "--output \"nonsense\": must be text, json, fortio, csv, hdr or html",
            ),
            (
                "http://x/ --output",
                "--output: needs a value: text, json, fortio, csv, hdr or html",
            ),
            ("http://x/ --rate", "--rate: needs a value"),
            ("http://x/ --threads x", "--threads \"x\": must be a whole number"),
            (
                "http://x/ --connections -1",
                "--connections \"-1\": must be a whole number",
            ),
            (
                "http://x/ -c 99999999999999999999",
                "--connections \"99999999999999999999\": must be a whole number",
            ),
            (
                "http://x/ --duration 1s --duration 2s",
                "'--duration <TIME>' cannot be used multiple times",
            ),
            ("serve --listen nonsense", "--listen \"nonsense\": must be ADDRESS:PORT"),
            ("serve --body-rate x", "--body-rate \"x\": must be a whole number"),
            ("serve --resets x", "--resets \"x\": must be a number"),
            ("compare a", "<B.json> is missing: weft-load compare <A.json> <B.json>"),
            ("compare", "<A.json> and <B.json> are missing"),
            (
                "compare a b c",
                "\"c\": is one argument too many: weft-load compare [OPTIONS] <A.json> <B.json>",
            ),
            ("breaker", "<[WEIGHT:]URL>... is missing: weft-load breaker"),
        ] {
            let arguments = ["weft-load"].into_iter().chain(arguments.split_whitespace());
            let line = line(&Args::try_parse_from(arguments.clone()).unwrap_err());
            assert!(line.contains(wanted), "{arguments:?}: {line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }
}
