use ::http::{HeaderName, HeaderValue, StatusCode};
use weft_proxy_core::route::{
    ClusterChoice, Destination, Forward, HostRewrite, PathRedirect, PathRewrite, Pattern, Redirect, SplitKey, Upgrade,
    WeightedSplit,
};
use weft_xds::pb;

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, Problem, invalid, refuse, unsupported};
use super::headers::{Levels, levels};
use super::matcher::substitution;
use super::policy;
use super::route::{Inherited, destination};
use super::value::{duration, limit, number, port};

/// How requests are sent on.
pub(super) fn forward(
    context: &mut Context<'_>,
    inherited: &Inherited<'_>,
    levels: &Levels,
    key: SplitKey,
    source: &pb::route::RouteAction,
) -> Outcome<Forward> {
    refuse(
        source.metadata_match.is_some(),
        "metadata_match",
        "subsets are clusters of their own",
    )?;
    context.ignore_if(source.internal_redirect_policy.is_some(), "internal_redirect_policy");
    context.ignore_if(source.hedge_policy.is_some(), "hedge_policy");
    context.ignore_if(!source.rate_limits.is_empty(), "rate_limits");
    context.ignore_if(source.priority != 0, "priority");
    context.ignore_if(source.early_data_policy.is_some(), "early_data_policy");
    context.ignore_if(source.flush_timeout.is_some(), "flush_timeout");
    let (max_stream_duration, grpc_timeout_max) = stream_limits(context, source)?;
    Ok(Forward {
        choice: choice(context, inherited, levels, key, source)?,
        path: path_rewrite(source)?,
        host: host_rewrite(source)?,
        append_forwarded_host: source.append_x_forwarded_host,
        timeout: limit(source.timeout.as_ref(), Some(defaults::ROUTE_TIMEOUT)).at("timeout")?,
        grpc_timeout_max,
        idle_timeout: duration(source.idle_timeout.as_ref()).at("idle_timeout")?,
        max_stream_duration,
        retry: policy::retry(
            context,
            source.retry_policy.as_ref().or(inherited.host.retry_policy.as_ref()),
        )
        .at("retry_policy")?,
        attempt_count: inherited.host.include_request_attempt_count,
        hash: policy::hash_keys(context, &source.hash_policy)?,
        mirrors: policy::mirrors(context, source, inherited)?,
        upgrades: source
            .upgrade_configs
            .iter()
            .enumerate()
            .map(|(index, one)| upgrade(one).at_index("upgrade_configs", index))
            .collect::<Outcome<_>>()?,
        cluster_not_found: not_found_status(source)?,
    })
}

/// Limits of a stream's life and of a client's `grpc-timeout`.
fn stream_limits(
    context: &mut Context<'_>,
    source: &pb::route::RouteAction,
) -> Outcome<(Option<std::time::Duration>, Option<std::time::Duration>)> {
    let Some(limits) = &source.max_stream_duration else {
        let grpc = duration(source.max_grpc_timeout.as_ref()).at("max_grpc_timeout")?;
        context.ignore_if(source.grpc_timeout_offset.is_some(), "grpc_timeout_offset");
        return Ok((None, grpc));
    };
    context.ignore_if(
        limits.grpc_timeout_header_offset.is_some(),
        "grpc_timeout_header_offset",
    );
    let life = duration(limits.max_stream_duration.as_ref()).at("max_stream_duration")?;
    let grpc = duration(limits.grpc_timeout_header_max.as_ref()).at("max_stream_duration.grpc_timeout_header_max")?;
    Ok((life, grpc))
}

fn choice(
    context: &mut Context<'_>,
    inherited: &Inherited<'_>,
    levels: &Levels,
    key: SplitKey,
    source: &pb::route::RouteAction,
) -> Outcome<ClusterChoice> {
    use pb::route::route_action::ClusterSpecifier;
    match source
        .cluster_specifier
        .as_ref()
        .ok_or(Problem::Missing)
        .at("cluster_specifier")?
    {
        ClusterSpecifier::Cluster(name) => {
            let one = destination(context, name, 1, inherited.join(levels, None)).at("cluster")?;
            Ok(ClusterChoice::One(Box::new(one)))
        }
        ClusterSpecifier::WeightedClusters(source) => {
            weighted(context, inherited, levels, key, source).at("weighted_clusters")
        }
        ClusterSpecifier::ClusterHeader(_) => Err(unsupported("clusters named by requests")).at("cluster_header"),
        ClusterSpecifier::ClusterSpecifierPlugin(_) | ClusterSpecifier::InlineClusterSpecifierPlugin(_) => {
            Err(unsupported("clusters chosen by an extension")).at("cluster_specifier_plugin")
        }
    }
}

fn weighted(
    context: &mut Context<'_>,
    inherited: &Inherited<'_>,
    levels: &Levels,
    key: SplitKey,
    source: &pb::route::WeightedCluster,
) -> Outcome<ClusterChoice> {
    let chosen_by = source.random_value_specifier.is_some();
    refuse(
        chosen_by,
        "random_value_specifier",
        "the choice is by a running number, not by the request",
    )?;
    let clusters = source.clusters.iter().enumerate();
    let destinations = clusters
        .map(|(index, one)| weighted_destination(context, inherited, levels, one).at_index("clusters", index))
        .collect::<Outcome<Vec<_>>>()?;
    let state = context.bindings.split(&key);
    Ok(ClusterChoice::Weighted(WeightedSplit::new(destinations, key, state)?))
}

fn weighted_destination(
    context: &mut Context<'_>,
    inherited: &Inherited<'_>,
    levels: &Levels,
    source: &pb::route::weighted_cluster::ClusterWeight,
) -> Outcome<Destination> {
    use pb::route::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    refuse(
        !source.cluster_header.is_empty(),
        "cluster_header",
        "clusters named by requests",
    )?;
    refuse(
        source.metadata_match.is_some(),
        "metadata_match",
        "subsets are clusters of their own",
    )?;
    context.ignore_if(
        !source.typed_per_filter_config.is_empty(),
        "weighted_clusters.clusters.typed_per_filter_config",
    );
    let own = levels!(source);
    let weight = number(source.weight.as_ref()).unwrap_or(0);
    let operations = inherited.join(levels, Some(&own));
    let mut destination = destination(context, &source.name, weight, operations).at("name")?;
    destination.host = match &source.host_rewrite_specifier {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(literal_host(host)?),
    };
    Ok(destination)
}

fn path_rewrite(source: &pb::route::RouteAction) -> Outcome<PathRewrite> {
    refuse(
        source.path_rewrite_policy.is_some(),
        "path_rewrite_policy",
        "path templates",
    )?;
    refuse(!source.path_rewrite.is_empty(), "path_rewrite", "paths with operators")?;
    match (&source.regex_rewrite, source.prefix_rewrite.as_str()) {
        (None, "") => Ok(PathRewrite::Keep),
        (None, prefix) => Ok(PathRewrite::Matched(prefix.into())),
        (Some(rewrite), "") => {
            let (pattern, substitution) = substitution(rewrite).at("regex_rewrite")?;
            Ok(PathRewrite::Regex { pattern, substitution })
        }
        (Some(_), prefix) => Err(invalid(prefix, "empty, as it has to be beside regex_rewrite")).at("prefix_rewrite"),
    }
}

fn host_rewrite(source: &pb::route::RouteAction) -> Outcome<HostRewrite> {
    use pb::route::route_action::HostRewriteSpecifier;
    Ok(match &source.host_rewrite_specifier {
        None => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if host.is_empty() => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => literal_host(host)?,
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) if auto.value => HostRewrite::Endpoint,
        Some(HostRewriteSpecifier::AutoHostRewrite(_)) => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name, "a header name"));
            HostRewrite::Header(name.at("host_rewrite_header")?)
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(rewrite)) => {
            let (pattern, substitution) = substitution(rewrite).at("host_rewrite_path_regex")?;
            HostRewrite::Path { pattern, substitution }
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            return Err(unsupported("hosts with operators")).at("host_rewrite");
        }
    })
}

fn literal_host(host: &str) -> Outcome<HostRewrite> {
    let value = HeaderValue::from_str(host)
        .map_err(|_| invalid(host, "a host"))
        .at("host_rewrite_literal")?;
    Ok(HostRewrite::Literal(value))
}

fn upgrade(source: &pb::route::route_action::UpgradeConfig) -> Outcome<Upgrade> {
    let enabled = source.enabled.as_ref().is_none_or(|enabled| enabled.value);
    let kind = source.upgrade_type.to_ascii_lowercase();
    let is_connect = kind == "connect";
    match &source.connect_config {
        None if is_connect && enabled => return Err(unsupported("tunnels end here")).at("connect_config"),
        Some(connect) if connect.proxy_protocol_config.is_some() => {
            return Err(unsupported("PROXY headers")).at("connect_config");
        }
        Some(_) | None => {}
    }
    Ok(Upgrade {
        kind: kind.into(),
        enabled,
    })
}

fn not_found_status(source: &pb::route::RouteAction) -> Outcome<StatusCode> {
    use pb::route::route_action::ClusterNotFoundResponseCode as Code;
    match Code::try_from(source.cluster_not_found_response_code) {
        Ok(Code::ServiceUnavailable) => Ok(StatusCode::SERVICE_UNAVAILABLE),
        Ok(Code::NotFound) => Ok(StatusCode::NOT_FOUND),
        Ok(Code::InternalServerError) => Ok(StatusCode::INTERNAL_SERVER_ERROR),
        Err(_) => Err(invalid(source.cluster_not_found_response_code, "a response code"))
            .at("cluster_not_found_response_code"),
    }
}

/// An answer that names another place.
pub(super) fn redirect(source: &pb::route::RedirectAction) -> Outcome<Redirect> {
    use pb::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let status = match RedirectResponseCode::try_from(source.response_code) {
        Ok(RedirectResponseCode::MovedPermanently) => StatusCode::MOVED_PERMANENTLY,
        Ok(RedirectResponseCode::Found) => StatusCode::FOUND,
        Ok(RedirectResponseCode::SeeOther) => StatusCode::SEE_OTHER,
        Ok(RedirectResponseCode::TemporaryRedirect) => StatusCode::TEMPORARY_REDIRECT,
        Ok(RedirectResponseCode::PermanentRedirect) => StatusCode::PERMANENT_REDIRECT,
        Err(_) => return Err(invalid(source.response_code, "a redirect code")).at("response_code"),
    };
    let scheme = match &source.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => {
            Some(scheme.to_ascii_lowercase().into())
        }
        Some(SchemeRewriteSpecifier::HttpsRedirect(false) | SchemeRewriteSpecifier::SchemeRedirect(_)) | None => None,
    };
    let path = match &source.path_rewrite_specifier {
        None => PathRedirect::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) if path.is_empty() => PathRedirect::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => PathRedirect::Full(path.as_str().into()),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => PathRedirect::Matched(prefix.as_str().into()),
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            let (pattern, substitution): (Pattern, _) = substitution(rewrite).at("regex_rewrite")?;
            PathRedirect::Regex { pattern, substitution }
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(unsupported("paths with operators")).at("path_rewrite");
        }
    };
    let host = Some(source.host_redirect.as_str()).filter(|host| !host.is_empty());
    let port = Some(source.port_redirect)
        .filter(|port| *port != 0)
        .map(port)
        .transpose()
        .at("port_redirect")?;
    Ok(Redirect {
        status,
        scheme,
        host: host.map(Into::into),
        port,
        path,
        strip_query: source.strip_query,
    })
}
