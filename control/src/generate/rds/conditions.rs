//! What a request must be like (istio `route.go: TranslateRouteMatch`).

use weft_policies::kind::string_match::StringMatch;
use weft_policies::kind::virtual_service::HttpMatch;
use weft_xds::pb;

use crate::generate::wire;
use pb::matcher::string_matcher::MatchPattern;
use pb::route::header_matcher::HeaderMatchSpecifier as Header;
use pb::route::query_parameter_matcher::QueryParameterMatchSpecifier as Query;
use pb::route::route_match::PathSpecifier;

/// Matches every value, the empty one as well. Stands for an empty prefix, which Envoy refuses in strings.
const ANYTHING: &str = ".*";

/// Matches every request.
pub(super) fn everything() -> pb::route::RouteMatch {
    pb::route::RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

/// Matches CONNECT requests to whatever authority.
pub(super) fn connect() -> pb::route::RouteMatch {
    pb::route::RouteMatch {
        path_specifier: Some(PathSpecifier::ConnectMatcher(Default::default())),
        ..Default::default()
    }
}

/// Matches what the user describes; conditions on port, source and gateway have been decided by the plan.
pub(super) fn of(matched: &HttpMatch) -> pb::route::RouteMatch {
    let path = match &matched.uri {
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(pattern)) => PathSpecifier::SafeRegex(wire::regex(pattern)),
        Some(StringMatch::Present) | None => PathSpecifier::Prefix("/".to_owned()),
    };
    pb::route::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: Some(wire::bool_value(!matched.ignore_uri_case)),
        headers: headers(matched),
        query_parameters: matched
            .query_params
            .iter()
            .map(|(name, value)| query(name, value))
            .collect(),
        ..Default::default()
    }
}

fn headers(matched: &HttpMatch) -> Vec<pb::route::HeaderMatcher> {
    let pseudo = [
        (":method", &matched.method),
        (":authority", &matched.authority),
        (":scheme", &matched.scheme),
    ];
    let mut headers: Vec<_> = matched
        .headers
        .iter()
        .map(|(name, value)| header(name, value))
        .collect();
    headers.extend(matched.without_headers.iter().map(|(name, value)| without(name, value)));
    headers.extend(
        pseudo
            .into_iter()
            .filter_map(|(name, value)| Some(header(name, value.as_ref()?))),
    );
    headers
}

fn header(name: &str, value: &StringMatch) -> pb::route::HeaderMatcher {
    let specifier = match value {
        StringMatch::Present => Header::PresentMatch(true),
        StringMatch::Prefix(prefix) if prefix.is_empty() => Header::PresentMatch(true),
        value => Header::StringMatch(string(value)),
    };
    pb::route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

/// The opposite of a condition; an absent header counts as an empty one, unless presence itself is asked for.
fn without(name: &str, value: &StringMatch) -> pb::route::HeaderMatcher {
    let (specifier, missing_is_empty) = match value {
        StringMatch::Present => (Header::PresentMatch(true), false),
        value => (Header::StringMatch(string(value)), true),
    };
    pb::route::HeaderMatcher {
        name: name.to_owned(),
        invert_match: true,
        treat_missing_header_as_empty: missing_is_empty,
        header_match_specifier: Some(specifier),
    }
}

fn query(name: &str, value: &StringMatch) -> pb::route::QueryParameterMatcher {
    let specifier = match value {
        StringMatch::Present => Query::PresentMatch(true),
        value => Query::StringMatch(string(value)),
    };
    pb::route::QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: Some(specifier),
    }
}

/// A comparison of one value.
pub(super) fn string(value: &StringMatch) -> pb::matcher::StringMatcher {
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Prefix(prefix) if !prefix.is_empty() => MatchPattern::Prefix(prefix.clone()),
        StringMatch::Regex(pattern) => MatchPattern::SafeRegex(wire::regex(pattern)),
        StringMatch::Prefix(_) | StringMatch::Present => MatchPattern::SafeRegex(wire::regex(ANYTHING)),
    };
    pb::matcher::StringMatcher {
        match_pattern: Some(pattern),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> StringMatch {
        StringMatch::Exact(text.to_owned())
    }

    #[test]
    fn a_forbidden_header_is_compared_as_empty_when_it_is_missing() {
        let by_value = without("x", &exact("1"));
        assert!(by_value.invert_match && by_value.treat_missing_header_as_empty);
        let by_presence = without("x", &StringMatch::Present);
        assert!(by_presence.invert_match && !by_presence.treat_missing_header_as_empty);
        assert_eq!(by_presence.header_match_specifier, Some(Header::PresentMatch(true)));
    }

    #[test]
    fn conditions_on_method_authority_and_scheme_are_conditions_on_pseudo_headers() {
        let matched = HttpMatch {
            method: Some(exact("GET")),
            authority: Some(exact("a.test")),
            scheme: Some(exact("http")),
            headers: [("b".to_owned(), exact("1")), ("a".to_owned(), exact("2"))].into(),
            ..Default::default()
        };
        let names: Vec<_> = of(&matched).headers.into_iter().map(|header| header.name).collect();
        assert_eq!(names, ["a", "b", ":method", ":authority", ":scheme"]);
    }

    #[test]
    fn an_empty_prefix_never_reaches_the_wire_as_a_string_match() {
        let empty = StringMatch::Prefix(String::new());
        assert_eq!(
            header("x", &empty).header_match_specifier,
            Some(Header::PresentMatch(true))
        );
        assert_eq!(
            string(&empty).match_pattern,
            Some(MatchPattern::SafeRegex(wire::regex(ANYTHING)))
        );
    }

    #[test]
    fn letter_case_of_a_path_counts_unless_told_otherwise() {
        for ignore_uri_case in [false, true] {
            let matched = HttpMatch {
                uri: Some(exact("/A")),
                ignore_uri_case,
                ..Default::default()
            };
            let wire = of(&matched);
            assert_eq!(wire.path_specifier, Some(PathSpecifier::Path("/A".to_owned())));
            assert_eq!(wire.case_sensitive, Some(wire::bool_value(!ignore_uri_case)));
        }
    }
}
