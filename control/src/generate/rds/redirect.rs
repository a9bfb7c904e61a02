//! Redirects (istio `route.go: ApplyRedirect`).

use weft_policies::kind::virtual_service::{HttpRedirect, RedirectPort};
use weft_xds::pb;

use pb::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};

/// The redirect of a rule on a plain-text listener at `port`.
pub(super) fn action(to: &HttpRedirect, port: u16) -> pb::route::RedirectAction {
    let port = match to.port {
        Some(RedirectPort::Number(number)) => number,
        Some(RedirectPort::FromRequestPort) => port,
        Some(RedirectPort::FromProtocolDefault) | None => 0,
    };
    let scheme = to.scheme.as_deref().filter(|scheme| !scheme.is_empty());
    // The default port of a scheme is not printed; 0 leaves the port of the request's authority as it is.
    let is_default = matches!((scheme.unwrap_or("http"), port), ("http", 80) | ("https", 443));
    let path = match (&to.uri, &to.prefix_rewrite) {
        (Some(path), _) if !path.is_empty() => Some(PathRewriteSpecifier::PathRedirect(path.clone())),
        (_, Some(prefix)) if !prefix.is_empty() => Some(PathRewriteSpecifier::PrefixRewrite(prefix.clone())),
        _ => None,
    };
    pb::route::RedirectAction {
        host_redirect: to.authority.clone().unwrap_or_default(),
        port_redirect: if is_default { 0 } else { port.into() },
        response_code: code(to.redirect_code).into(),
        scheme_rewrite_specifier: scheme.map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

/// Validation admits these five only.
fn code(status: Option<u16>) -> RedirectResponseCode {
    match status {
        Some(302) => RedirectResponseCode::Found,
        Some(303) => RedirectResponseCode::SeeOther,
        Some(307) => RedirectResponseCode::TemporaryRedirect,
        Some(308) => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_of_the_scheme_is_left_out() {
        let cases = [
            (None, Some(RedirectPort::FromRequestPort), 80, 0),
            (None, Some(RedirectPort::FromRequestPort), 8085, 8085),
            (Some("https"), Some(RedirectPort::Number(443)), 80, 0),
            (Some("https"), Some(RedirectPort::Number(9443)), 80, 9443),
            (Some("https"), Some(RedirectPort::FromProtocolDefault), 80, 0),
            (None, None, 8085, 0),
        ];
        for (scheme, port, listener, expected) in cases {
            let to = HttpRedirect {
                scheme: scheme.map(str::to_owned),
                port,
                ..Default::default()
            };
            assert_eq!(
                action(&to, listener).port_redirect,
                expected,
                "{scheme:?} {port:?} {listener}"
            );
        }
    }
}
