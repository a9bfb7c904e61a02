use weft_proxy_core::cluster::{OutlierDetection, Statuses};
use weft_proxy_core::route::HeaderTest;
use weft_xds::{pb, unpack};

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, Problem, unsupported};
use super::matcher;
use super::upstream::OPTIONS;
use super::value::{duration, number};
use pb::common_matcher::MatchPredicate;

/// Whether a status is an error, for one predicate.
type Test = Box<dyn Fn(u16) -> bool>;

/// The detectors of a cluster and what they take for errors.
pub(super) fn outlier(
    context: &mut Context<'_>,
    cluster: &pb::cluster::Cluster,
    source: &pb::cluster::OutlierDetection,
) -> Outcome<OutlierDetection> {
    use defaults::outlier as default;
    // An enforcement of 0 is how Envoy is told that a detector is off; shares between are not honoured.
    let mut enforced = |field: Option<&pb::protobuf::UInt32Value>, default: u32, name: &str| {
        let share = number(field).unwrap_or(default);
        context.ignore_if((1..100).contains(&share), name);
        share > 0
    };
    let on = |is_on: bool, count: Option<&pb::protobuf::UInt32Value>| {
        if is_on {
            number(count).unwrap_or(default::CONSECUTIVE)
        } else {
            0
        }
    };
    let is_on = enforced(
        source.enforcing_consecutive_5xx.as_ref(),
        100,
        "enforcing_consecutive_5xx",
    );
    let consecutive_5xx = on(is_on, source.consecutive_5xx.as_ref());
    let field = source.enforcing_consecutive_gateway_failure.as_ref();
    let is_on = enforced(field, 0, "enforcing_consecutive_gateway_failure");
    let consecutive_gateway = on(is_on, source.consecutive_gateway_failure.as_ref());
    let split = source.split_external_local_origin_errors;
    let field = source.enforcing_consecutive_local_origin_failure.as_ref();
    let is_on = enforced(field, 100, "enforcing_consecutive_local_origin_failure") && split;
    let consecutive_local_origin = on(is_on, source.consecutive_local_origin_failure.as_ref());
    // These are on unless they are switched off, and not to be had here.
    context.ignore_if(
        number(source.enforcing_success_rate.as_ref()) != Some(0),
        "outlier detection by success rate",
    );
    let percentage = number(source.enforcing_failure_percentage.as_ref()).unwrap_or(0);
    context.ignore_if(percentage > 0, "outlier detection by failure percentage");
    context.ignore_if(source.max_ejection_time_jitter.is_some(), "max_ejection_time_jitter");
    context.ignore_if(
        source.always_eject_one_host.as_ref().is_some_and(|one| one.value),
        "always_eject_one_host",
    );
    let base = duration(source.base_ejection_time.as_ref())
        .at("base_ejection_time")?
        .unwrap_or(default::EJECTION_BASE);
    let max = duration(source.max_ejection_time.as_ref())
        .at("max_ejection_time")?
        .unwrap_or(default::EJECTION_MAX);
    Ok(OutlierDetection {
        errors: errors(cluster)?,
        consecutive_5xx,
        consecutive_gateway,
        consecutive_local_origin,
        split_local_origin: split,
        interval: duration(source.interval.as_ref())
            .at("interval")?
            .unwrap_or(default::INTERVAL),
        ejection_base: base,
        ejection_max: max.max(base),
        ejection_percent_max: number(source.max_ejection_percent.as_ref())
            .unwrap_or(default::EJECTION_PERCENT_MAX)
            .min(100),
    })
}

/// Which statuses outlier detection takes for errors: those that the HTTP options of the cluster say, else all 5xx.
fn errors(source: &pb::cluster::Cluster) -> Outcome<Statuses> {
    let options = source.typed_extension_protocol_options.get(OPTIONS);
    let options = options
        .map(unpack::<pb::upstream_http::HttpProtocolOptions>)
        .transpose()
        .at("typed_extension_protocol_options")?;
    let predicate = options
        .and_then(|options| options.outlier_detection)
        .and_then(|detection| detection.error_matcher);
    let Some(predicate) = predicate else {
        return Ok(Statuses::SERVER_ERRORS);
    };
    let is_error = test(&predicate).at("error_matcher")?;
    Ok(Statuses::of(is_error))
}

/// Its depth is bounded by what the decoder of messages takes.
fn test(predicate: &MatchPredicate) -> Outcome<Test> {
    use pb::common_matcher::match_predicate::Rule;
    Ok(match predicate.rule.as_ref().ok_or(Problem::Missing)? {
        Rule::OrMatch(set) => {
            let tests = tests(&set.rules).at("or_match")?;
            Box::new(move |status| tests.iter().any(|test| test(status)))
        }
        Rule::AndMatch(set) => {
            let tests = tests(&set.rules).at("and_match")?;
            Box::new(move |status| tests.iter().all(|test| test(status)))
        }
        Rule::NotMatch(inner) => {
            let inner = test(inner).at("not_match")?;
            Box::new(move |status| !inner(status))
        }
        Rule::AnyMatch(always) => {
            let always = *always;
            Box::new(move |_| always)
        }
        Rule::HttpResponseHeadersMatch(headers) => {
            let headers = headers.headers.iter().enumerate();
            let tests = headers
                .map(|(index, header)| status_test(header).at_index("headers", index))
                .collect::<Outcome<Vec<Test>>>()
                .at("http_response_headers_match")?;
            Box::new(move |status| tests.iter().all(|test| test(status)))
        }
        Rule::HttpRequestHeadersMatch(_)
        | Rule::HttpRequestTrailersMatch(_)
        | Rule::HttpResponseTrailersMatch(_)
        | Rule::HttpRequestGenericBodyMatch(_)
        | Rule::HttpResponseGenericBodyMatch(_) => return Err(unsupported("errors that are not told by the status")),
    })
}

fn tests(rules: &[MatchPredicate]) -> Outcome<Vec<Test>> {
    let rules = rules.iter().enumerate();
    rules.map(|(index, rule)| test(rule).at_index("rules", index)).collect()
}

fn status_test(header: &pb::route::HeaderMatcher) -> Outcome<Test> {
    if header.name != ":status" {
        return Err(unsupported("errors that are not told by the status")).at("name");
    }
    let (test, invert) = (matcher::header_test(header)?, header.invert_match);
    Ok(Box::new(move |status| {
        let passed = match &test {
            HeaderTest::Present(wanted) => *wanted,
            HeaderTest::Value(value) => value.is_match(status.to_string().as_bytes()),
            HeaderTest::Range { start, end } => (*start..*end).contains(&status.into()),
        };
        passed != invert
    }))
}
