use weft_proxy_core::route::{
    HeaderKey, HeaderMatch, HeaderTest, PathMatch, Pattern, QueryMatch, RouteMatch, StringMatch, Text,
};
use weft_xds::pb;

use super::error::{At, Outcome, Problem, invalid, refuse, unsupported};

/// A route's conditions.
pub(super) fn route_match(source: &pb::route::RouteMatch) -> Outcome<RouteMatch> {
    refuse(
        source.tls_context.is_some(),
        "tls_context",
        "client certificates are not looked at",
    )?;
    refuse(
        !source.dynamic_metadata.is_empty(),
        "dynamic_metadata",
        "there is no filter that makes it",
    )?;
    refuse(
        !source.filter_state.is_empty(),
        "filter_state",
        "there is no filter that makes it",
    )?;
    refuse(!source.cookies.is_empty(), "cookies", "match the header instead")?;
    refuse(
        source.runtime_fraction.is_some(),
        "runtime_fraction",
        "use weighted clusters",
    )?;
    let headers = source.headers.iter().enumerate();
    let query = source.query_parameters.iter().enumerate();
    Ok(RouteMatch {
        path: path(source).at("path_specifier")?,
        headers: headers
            .map(|(index, one)| header(one).at_index("headers", index))
            .collect::<Outcome<_>>()?,
        query: query
            .map(|(index, one)| parameter(one).at_index("query_parameters", index))
            .collect::<Outcome<_>>()?,
        grpc: source.grpc.is_some(),
    })
}

fn path(source: &pb::route::RouteMatch) -> Outcome<PathMatch> {
    use pb::route::route_match::PathSpecifier;
    let ignore_case = source.case_sensitive.as_ref().is_some_and(|sensitive| !sensitive.value);
    Ok(match source.path_specifier.as_ref().ok_or(Problem::Missing)? {
        PathSpecifier::Prefix(text) => PathMatch::Prefix(Text::new(text, ignore_case)),
        PathSpecifier::Path(text) => PathMatch::Exact(Text::new(text, ignore_case)),
        PathSpecifier::PathSeparatedPrefix(text) => {
            if !text.starts_with('/') || text.ends_with('/') || text.contains(['?', '#']) {
                return Err(invalid(text, "a path that begins with / and does not end with it"));
            }
            PathMatch::Segments(Text::new(text, ignore_case))
        }
        PathSpecifier::SafeRegex(regex) => PathMatch::Regex(Pattern::new(&regex.regex)?),
        PathSpecifier::ConnectMatcher(_) => PathMatch::Connect,
        PathSpecifier::PathMatchPolicy(_) => return Err(unsupported("path templates")),
    })
}

/// A condition on a header.
pub(super) fn header(source: &pb::route::HeaderMatcher) -> Outcome<HeaderMatch> {
    let name = HeaderKey::new(&source.name)
        .ok_or_else(|| invalid(&source.name, "a header name"))
        .at("name")?;
    Ok(HeaderMatch {
        name,
        test: header_test(source)?,
        invert: source.invert_match,
        missing_is_empty: source.treat_missing_header_as_empty,
    })
}

/// What a condition on a header asks of it, but for whether it is turned round.
pub(super) fn header_test(source: &pb::route::HeaderMatcher) -> Outcome<HeaderTest> {
    use pb::route::header_matcher::HeaderMatchSpecifier as Specifier;
    let literal = |text: &str| Text::new(text, false);
    Ok(match &source.header_match_specifier {
        None => HeaderTest::Present(true),
        Some(Specifier::PresentMatch(present)) => HeaderTest::Present(*present),
        Some(Specifier::RangeMatch(range)) => HeaderTest::Range {
            start: range.start,
            end: range.end,
        },
        Some(Specifier::StringMatch(matcher)) => HeaderTest::Value(string(matcher).at("string_match")?),
        Some(Specifier::ExactMatch(text)) => HeaderTest::Value(StringMatch::Exact(literal(text))),
        Some(Specifier::PrefixMatch(text)) => HeaderTest::Value(StringMatch::Prefix(literal(text))),
        Some(Specifier::SuffixMatch(text)) => HeaderTest::Value(StringMatch::Suffix(literal(text))),
        Some(Specifier::ContainsMatch(text)) => HeaderTest::Value(StringMatch::Contains(literal(text))),
        Some(Specifier::SafeRegexMatch(regex)) => HeaderTest::Value(StringMatch::Regex(Pattern::new(&regex.regex)?)),
    })
}

fn parameter(source: &pb::route::QueryParameterMatcher) -> Outcome<QueryMatch> {
    use pb::route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let value = match &source.query_parameter_match_specifier {
        None | Some(Specifier::PresentMatch(true)) => None,
        Some(Specifier::PresentMatch(false)) => return Err(unsupported("absence of a parameter")),
        Some(Specifier::StringMatch(matcher)) => Some(string(matcher).at("string_match")?),
    };
    Ok(QueryMatch {
        name: source.name.as_str().into(),
        value,
    })
}

/// A test of a text.
pub(super) fn string(source: &pb::matcher::StringMatcher) -> Outcome<StringMatch> {
    use pb::matcher::string_matcher::MatchPattern;
    let literal = |text: &str| Text::new(text, source.ignore_case);
    Ok(match source.match_pattern.as_ref().ok_or(Problem::Missing)? {
        MatchPattern::Exact(text) => StringMatch::Exact(literal(text)),
        MatchPattern::Prefix(text) => StringMatch::Prefix(literal(text)),
        MatchPattern::Suffix(text) => StringMatch::Suffix(literal(text)),
        MatchPattern::Contains(text) => StringMatch::Contains(literal(text)),
        MatchPattern::SafeRegex(regex) => StringMatch::Regex(Pattern::new(&regex.regex)?),
        MatchPattern::Custom(_) => return Err(unsupported("matchers by extension")),
    })
}

/// A search with its substitution; every group that it names has to exist.
pub(super) fn substitution(source: &pb::matcher::RegexMatchAndSubstitute) -> Outcome<(Pattern, Box<str>)> {
    let regex = source.pattern.as_ref().ok_or(Problem::Missing).at("pattern")?;
    let pattern = Pattern::new(&regex.regex).at("pattern")?;
    let mut rest = source.substitution.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            continue;
        }
        let known = match rest.next() {
            Some('\\') => true,
            Some(digit) => digit
                .to_digit(10)
                .is_some_and(|group| group as usize <= pattern.groups()),
            None => false,
        };
        if !known {
            return Err(invalid(
                &source.substitution,
                "a substitution: it names a group that does not exist",
            ))
            .at("substitution");
        }
    }
    Ok((pattern, source.substitution.as_str().into()))
}
