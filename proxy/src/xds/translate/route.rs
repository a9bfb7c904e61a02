use std::sync::Arc;

use weft_proxy_core::Provenance;
use weft_proxy_core::route::{
    Action, Bindings, Destination, DirectResponse, HeaderOps, RequireTls, Route, RouteTable, SplitKey, VirtualHost,
};
use weft_xds::pb;

use super::action;
use super::context::{Context, Translated, translate};
use super::defaults;
use super::error::{At, Outcome, Problem, TranslateError, invalid, refuse, unsupported};
use super::headers::{Levels, levels};
use super::matcher::route_match;
use super::policy;
use super::value::{number, provenance};

/// Compiles a route table.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn route_table(
    source: &pb::route::RouteConfiguration,
    bindings: &mut Bindings,
) -> Result<Translated<RouteTable>, TranslateError> {
    translate(&source.name, bindings, |context| table(context, source))
}

/// What a route inherits.
pub(super) struct Inherited<'a> {
    pub(super) table: &'a pb::route::RouteConfiguration,
    pub(super) host: &'a pb::route::VirtualHost,
    /// Levels around the route, least specific last, as Envoy applies them unless told otherwise.
    outer: Vec<&'a Levels>,
    direct_response_bytes_max: u32,
}

impl Inherited<'_> {
    /// Joins the levels of a route and what is around it with a destination's. The last one wins what is set: by default
    /// the table overrides the host and the host the route (Envoy: `most_specific_header_mutations_wins`); a
    /// destination always comes last.
    pub(super) fn join(&self, route: &Levels, destination: Option<&Levels>) -> (HeaderOps, HeaderOps) {
        let mut levels = vec![route];
        levels.extend(&self.outer);
        if self.table.most_specific_header_mutations_wins {
            levels.reverse();
        }
        levels.extend(destination);
        let requests = HeaderOps::join(levels.iter().map(|level| &level.request));
        (requests, HeaderOps::join(levels.iter().map(|level| &level.response)))
    }
}

pub(super) fn table(context: &mut Context<'_>, source: &pb::route::RouteConfiguration) -> Outcome<RouteTable> {
    refuse(source.vhds.is_some(), "vhds", "virtual hosts on demand")?;
    refuse(
        !source.vhost_header.is_empty(),
        "vhost_header",
        "virtual hosts are chosen by authority",
    )?;
    refuse(
        !source.route_specifiers.is_empty(),
        "route_specifiers",
        "routes by extension",
    )?;
    let parameters = source.ignore_path_parameters_in_path_matching;
    refuse(
        parameters,
        "ignore_path_parameters_in_path_matching",
        "paths are compared whole",
    )?;
    context.ignore_if(!source.internal_only_headers.is_empty(), "internal_only_headers");
    context.ignore_if(
        !source.cluster_specifier_plugins.is_empty(),
        "cluster_specifier_plugins",
    );
    let own = levels!(source);
    let hosts = source.virtual_hosts.iter().enumerate();
    let hosts = hosts.map(|(index, host)| virtual_host(context, source, &own, host).at_index("virtual_hosts", index));
    Ok(RouteTable::new(
        source.name.as_str().into(),
        provenance(source.metadata.as_ref()),
        hosts.collect::<Outcome<_>>()?,
        source.ignore_port_in_host_matching,
    )?)
}

fn virtual_host(
    context: &mut Context<'_>,
    table: &pb::route::RouteConfiguration,
    table_levels: &Levels,
    source: &pb::route::VirtualHost,
) -> Outcome<VirtualHost> {
    use pb::route::virtual_host::TlsRequirementType;
    refuse(source.matcher.is_some(), "matcher", "matching trees")?;
    refuse(
        !source.route_specifiers.is_empty(),
        "route_specifiers",
        "routes by extension",
    )?;
    context.ignore_if(!source.virtual_clusters.is_empty(), "virtual_clusters");
    context.ignore_if(!source.rate_limits.is_empty(), "rate_limits");
    context.ignore_if(source.hedge_policy.is_some(), "hedge_policy");
    context.ignore_if(
        source.include_attempt_count_in_response,
        "include_attempt_count_in_response",
    );
    context.ignore_if(
        source.include_is_timeout_retry_header,
        "include_is_timeout_retry_header",
    );
    let require_tls = match TlsRequirementType::try_from(source.require_tls) {
        Ok(TlsRequirementType::None) => RequireTls::No,
        Ok(TlsRequirementType::All) => RequireTls::All,
        Ok(TlsRequirementType::ExternalOnly) => {
            return Err(unsupported("which requests are internal is not known")).at("require_tls");
        }
        Err(_) => return Err(invalid(source.require_tls, "a requirement")).at("require_tls"),
    };
    let own = levels!(source);
    let bytes_max = number(table.max_direct_response_body_size_bytes.as_ref());
    let inherited = Inherited {
        table,
        host: source,
        outer: vec![&own, table_levels],
        direct_response_bytes_max: bytes_max.unwrap_or(defaults::DIRECT_RESPONSE_BYTES_MAX),
    };
    let name: Arc<str> = source.name.as_str().into();
    let routes = source.routes.iter().enumerate();
    let routes = routes.map(|(index, one)| {
        route(context, &inherited, &name, index, one)
            .map(Arc::new)
            .at_index("routes", index)
    });
    Ok(VirtualHost {
        routes: routes.collect::<Outcome<_>>()?,
        domains: source.domains.iter().map(|domain| domain.as_str().into()).collect(),
        name,
        require_tls,
    })
}

fn route(
    context: &mut Context<'_>,
    inherited: &Inherited<'_>,
    virtual_host: &Arc<str>,
    index: usize,
    source: &pb::route::Route,
) -> Outcome<Route> {
    refuse(
        !source.route_specifiers.is_empty(),
        "route_specifiers",
        "routes by extension",
    )?;
    context.ignore_if(source.tracing.is_some(), "tracing");
    context.ignore_if(
        source.per_request_buffer_limit_bytes.is_some(),
        "per_request_buffer_limit_bytes",
    );
    context.ignore_if(source.request_body_buffer_limit.is_some(), "request_body_buffer_limit");
    let provenance = provenance(source.metadata.as_ref());
    let own = levels!(source);
    let matcher = source.r#match.as_ref().ok_or(Problem::Missing).at("match")?;
    let matcher = route_match(matcher).at("match")?;
    let key = split_key(provenance.as_ref(), inherited, virtual_host, index, source);
    let action = match source.action.as_ref().ok_or(Problem::Missing).at("action")? {
        pb::route::route::Action::Route(forward) => {
            Action::Forward(action::forward(context, inherited, &own, key, forward).at("route")?)
        }
        pb::route::route::Action::Redirect(redirect) => Action::Redirect(action::redirect(redirect).at("redirect")?),
        pb::route::route::Action::DirectResponse(direct) => {
            let direct = direct_response(direct, inherited.direct_response_bytes_max);
            Action::DirectResponse(direct.at("direct_response")?)
        }
        pb::route::route::Action::FilterAction(_) => return Err(unsupported("actions of filters")).at("filter_action"),
        pb::route::route::Action::NonForwardingAction(_) => {
            return Err(unsupported("this proxy forwards")).at("non_forwarding_action");
        }
    };
    Ok(Route {
        name: source.name.as_str().into(),
        virtual_host: virtual_host.clone(),
        matcher,
        response_headers: inherited.join(&own, None).1,
        filters: policy::filters(context, source, inherited)?,
        operation: source
            .decorator
            .as_ref()
            .map(|decorator| decorator.operation.as_str().into()),
        provenance,
        action,
    })
}

/// Whose turns a split of this route counts: those of its rule, so that they go on when its table is made anew.
fn split_key(
    provenance: Option<&Provenance>,
    inherited: &Inherited<'_>,
    virtual_host: &Arc<str>,
    index: usize,
    source: &pb::route::Route,
) -> SplitKey {
    match provenance {
        Some(provenance) if provenance.rule.is_some() => SplitKey::Rule {
            object: provenance.object.clone(),
            rule: provenance.rule.unwrap_or_default(),
        },
        _ => SplitKey::Route {
            table: inherited.table.name.as_str().into(),
            virtual_host: virtual_host.clone(),
            route: if source.name.is_empty() {
                index.to_string().into()
            } else {
                source.name.as_str().into()
            },
        },
    }
}

fn direct_response(source: &pb::route::DirectResponseAction, bytes_max: u32) -> Outcome<DirectResponse> {
    use pb::core::data_source::Specifier;
    refuse(source.body_format.is_some(), "body_format", "bodies with operators")?;
    let body = match source.body.as_ref().and_then(|body| body.specifier.as_ref()) {
        None => bytes::Bytes::new(),
        Some(Specifier::InlineString(text)) => text.clone().into(),
        Some(Specifier::InlineBytes(bytes)) => bytes.clone().into(),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            return Err(unsupported("only inline bodies")).at("body");
        }
    };
    if body.len() > bytes_max as usize {
        return Err(invalid(body.len(), "within max_direct_response_body_size_bytes")).at("body");
    }
    let status = u16::try_from(source.status)
        .ok()
        .filter(|code| (200..600).contains(code));
    let status = status.and_then(|code| ::http::StatusCode::from_u16(code).ok());
    let status = status
        .ok_or_else(|| invalid(source.status, "a status from 200 to 599"))
        .at("status")?;
    Ok(DirectResponse { status, body })
}

/// A destination without anything of its own.
pub(super) fn destination(
    context: &mut Context<'_>,
    cluster: &str,
    weight: u32,
    operations: (HeaderOps, HeaderOps),
) -> Outcome<Destination> {
    if cluster.is_empty() {
        return Err(Problem::Missing.into());
    }
    let cluster = context.bindings.cluster(cluster)?;
    Ok(Destination {
        cluster,
        weight,
        request_headers: operations.0,
        response_headers: operations.1,
        host: None,
    })
}
