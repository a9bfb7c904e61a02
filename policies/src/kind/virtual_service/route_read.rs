//! How HTTP rules are read and checked.

use super::fault::percentage;
use super::{
    CorsPolicy, Delegate, DirectResponse, Fault, Headers, HttpAction, HttpMatch, HttpMirror, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRoute, HttpRouteDestination, RedirectPort, UriRewrite,
};
use crate::codes;
use crate::decode::{Field, Fields, Span};
use crate::kind::destination::Destination;
use crate::kind::string_match::StringMatch;
use crate::percent::Percent;
use crate::validate;

/// Body of a direct response that is refused (Envoy's and Istio's limit).
const BODY_BYTES_MAX: usize = 1 << 20;
/// Body of a direct response that is worth a warning: every proxy keeps a copy.
const BODY_BYTES_WARN: usize = 100 << 10;

impl HttpRoute {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let name = fields.filled("name");
        let matches = fields.list("match", HttpMatch::read);
        let action = read_action(&mut fields, &matches);
        if let Some(old) = fields.old("websocketUpgrade") {
            old.info(
                codes::OLD_FIELD,
                "is not needed: upgrades are always allowed",
                "remove it",
            );
        }
        let rewrite = fields.field("rewrite");
        let fault = fields.field("fault");
        let local = matches!(action, Some(HttpAction::Redirect(_) | HttpAction::DirectResponse(_)));
        for given in [&rewrite, &fault].into_iter().flatten().filter(|_| local) {
            given.error("has no meaning for a rule that answers by itself", "remove it");
        }
        let rewrite = rewrite.and_then(|f| HttpRewrite::read(&f));
        let mirrors = read_mirrors(&mut fields);
        let headers = Headers::read_with_old(&mut fields);
        let authorities = headers.authorities() + usize::from(rewrite.as_ref().is_some_and(|r| r.authority.is_some()));
        if authorities > 1 {
            field.error(
                "sets the authority more than once",
                "keep one of `rewrite.authority` and the header operations",
            );
        }
        let (mirror, mirror_percentage, mirrors) = mirrors;
        let route = Self {
            name,
            matches,
            action: action.unwrap_or(HttpAction::Route(Vec::new())),
            rewrite,
            timeout: fields.duration("timeout", Span::ZeroOrPositive),
            retries: fields.field("retries").and_then(|f| HttpRetry::read(&f)),
            fault: fault.and_then(|f| Fault::read(&f)),
            mirror,
            mirror_percentage,
            mirrors,
            cors_policy: fields.field("corsPolicy").and_then(|f| CorsPolicy::read(&f)),
            headers,
            origin: None,
        };
        fields.finish();
        Some(route)
    }
}

/// Exactly one of route, redirect, directResponse and delegate.
fn read_action(fields: &mut Fields<'_>, matches: &[HttpMatch]) -> Option<HttpAction> {
    let route = fields.field("route").filter(|f| !f.is_empty_list());
    let redirect = fields.field("redirect");
    let direct = fields.field("directResponse");
    let delegate = fields.field("delegate");
    let given: Vec<&str> = [
        ("route", &route),
        ("redirect", &redirect),
        ("directResponse", &direct),
        ("delegate", &delegate),
    ]
    .into_iter()
    .filter(|(_, f)| f.is_some())
    .map(|(name, _)| name)
    .collect();
    let fix = "give exactly one of `route`, `redirect`, `directResponse` and `delegate`";
    match given.as_slice() {
        [] => fields.at.error("does nothing", fix),
        [_] => {}
        several => fields.at.error(format!("has {}", several.join(" and ")), fix),
    }
    // All are read, so that the mistakes of each are told.
    let redirect = redirect
        .and_then(|f| HttpRedirect::read(&f, matches))
        .map(HttpAction::Redirect);
    let direct = direct
        .and_then(|f| DirectResponse::read(&f))
        .map(HttpAction::DirectResponse);
    let delegate = delegate.and_then(|f| Delegate::read(&f)).map(HttpAction::Delegate);
    let route = route.map(|f| HttpAction::Route(read_route(&f)));
    redirect.or(direct).or(route).or(delegate)
}

fn read_route(field: &Field<'_>) -> Vec<HttpRouteDestination> {
    let read = |field: &Field<'_>| {
        let mut fields = field.fields()?;
        let destination = fields
            .required("destination", "name a service")
            .and_then(|f| Destination::read(&f));
        let weight = fields.count("weight").unwrap_or_default();
        let headers = Headers::read_with_old(&mut fields);
        if headers.authorities() > 1 {
            field.error("sets the authority more than once", "keep one of the header operations");
        }
        fields.finish();
        Some(HttpRouteDestination {
            destination: destination?,
            weight,
            headers,
        })
    };
    let route: Vec<_> = field.items().iter().filter_map(read).collect();
    check_weights(field, route.iter().map(|d| d.weight));
    route
}

/// Several destinations need a weight above zero between them.
pub(super) fn check_weights(field: &Field<'_>, weights: impl ExactSizeIterator<Item = u32>) {
    if weights.len() < 2 {
        return;
    }
    let total: u64 = weights.map(u64::from).sum();
    if total == 0 {
        field.error(
            "has several destinations and no weight above 0",
            "give each destination a `weight`",
        );
    } else if total > u64::from(u32::MAX) {
        field.error(
            format!("has weights that add up to {total}"),
            format!("must add up to at most {}", u32::MAX),
        );
    }
}

impl HttpRedirect {
    fn read(field: &Field<'_>, matches: &[HttpMatch]) -> Option<Self> {
        let mut fields = field.fields()?;
        let (uri, prefix_rewrite) = (line(&mut fields, "uri"), line(&mut fields, "prefixRewrite"));
        if uri.is_some() && prefix_rewrite.is_some() {
            field.error("has both `uri` and `prefixRewrite`", "keep one of them");
        }
        let all_prefixes = matches
            .iter()
            .all(|m| matches!(m.uri, None | Some(StringMatch::Prefix(_))));
        if prefix_rewrite.is_some() && !all_prefixes {
            field.error(
                "has `prefixRewrite`, but a match is not by prefix",
                "match `uri.prefix` only, or use `uri`",
            );
        }
        let number = fields
            .port("port")
            .and_then(|n| u16::try_from(n).ok())
            .map(RedirectPort::Number);
        let derived = fields.word(
            "derivePort",
            &[
                ("FROM_PROTOCOL_DEFAULT", RedirectPort::FromProtocolDefault),
                ("FROM_REQUEST_PORT", RedirectPort::FromRequestPort),
            ],
        );
        if number.is_some() && derived.is_some() {
            field.error("has both `port` and `derivePort`", "keep one of them");
        }
        let redirect_code = fields.field("redirectCode").and_then(|f| {
            let code = f.u32(0..=999).filter(|code| *code != 0)?;
            if !matches!(code, 301 | 302 | 303 | 307 | 308) {
                f.error(format!("is {code}"), "must be 301, 302, 303, 307 or 308");
            }
            u16::try_from(code).ok()
        });
        let redirect = Self {
            uri,
            prefix_rewrite,
            authority: line(&mut fields, "authority"),
            port: number.or(derived),
            scheme: read_scheme(&mut fields),
            redirect_code,
        };
        fields.finish();
        if redirect == Self::default() {
            field.error(
                "changes nothing",
                "give at least one of uri, prefixRewrite, authority, port, scheme",
            );
        }
        Some(redirect)
    }
}

fn read_scheme(fields: &mut Fields<'_>) -> Option<String> {
    let field = fields.field("scheme").filter(|f| f.node.as_str() != Some(""))?;
    field.word(&[("http", "http"), ("https", "https")]).map(str::to_owned)
}

impl DirectResponse {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let status = fields
            .required("status", "give a status from 200 to 599")
            .and_then(|f| f.u32(200..=599));
        let body = fields.field("body").and_then(|f| read_body(&f)).unwrap_or_default();
        fields.finish();
        Some(Self {
            status: u16::try_from(status?).ok()?,
            body,
        })
    }
}

fn read_body(field: &Field<'_>) -> Option<Vec<u8>> {
    let mut fields = field.fields()?;
    let (text, bytes) = (fields.field("string"), fields.field("bytes"));
    fields.finish();
    if text.is_some() && bytes.is_some() {
        field.error("has both `string` and `bytes`", "keep one of them");
    }
    let body = match (text, bytes) {
        (Some(text), _) => text.text()?.as_bytes().to_vec(),
        (None, Some(bytes)) => {
            let decoded = base64(bytes.text()?);
            if decoded.is_none() {
                bytes.error("is no base64", "encode the bytes in base64");
            }
            decoded?
        }
        (None, None) => Vec::new(),
    };
    if body.len() > BODY_BYTES_MAX {
        field.error(
            format!("has {} bytes", body.len()),
            format!("must have at most {BODY_BYTES_MAX}"),
        );
    } else if body.len() > BODY_BYTES_WARN {
        field.warn(
            codes::SCHEMA_WARNING,
            format!("has {} bytes, which every proxy keeps", body.len()),
            "serve it from an upstream",
        );
    }
    Some(body)
}

/// Standard or URL-safe, padded or not, as protobuf's JSON takes it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for b in text.trim_end_matches('=').bytes() {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The low byte is what is wanted; what is above it has been taken already.
            bytes.push((bits >> count) as u8);
        }
    }
    (count < 6).then_some(bytes)
}

impl Delegate {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let name = fields
            .required("name", "name a VirtualService without hosts")
            .and_then(|f| f.text().map(str::to_owned));
        let namespace = fields.field("namespace").and_then(|f| {
            let name = f.text().filter(|name| !name.is_empty())?;
            f.check(validate::dns_label(name)).map(|()| name.to_owned())
        });
        fields.finish();
        Some(Self { name: name?, namespace })
    }
}

impl HttpRewrite {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let literal = line(&mut fields, "uri").map(UriRewrite::Literal);
        let regex = fields.field("uriRegexRewrite").and_then(|f| {
            let mut fields = f.fields()?;
            let pattern = fields.required("match", "match and rewrite belong together");
            let substitution = fields.required("rewrite", "match and rewrite belong together");
            fields.finish();
            let pattern = pattern?;
            pattern.check(validate::regex(pattern.text()?))?;
            let substitution = substitution?;
            substitution.check(validate::line(substitution.text()?))?;
            let (pattern, substitution) = (pattern.text()?.to_owned(), substitution.text()?.to_owned());
            Some(UriRewrite::Regex { pattern, substitution })
        });
        if literal.is_some() && regex.is_some() {
            field.error("has both `uri` and `uriRegexRewrite`", "keep one of them");
        }
        let rewrite = Self {
            uri: literal.or(regex),
            authority: line(&mut fields, "authority"),
        };
        if !fields.has("uriRegexRewrite") && rewrite == Self::default() {
            field.error("changes nothing", "give `uri`, `uriRegexRewrite` or `authority`");
        }
        fields.finish();
        Some(rewrite)
    }
}

/// A part of an address or path. One that no proxy can send would cost it the whole route table.
fn line(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let field = fields.field(name)?;
    let text = field.text().filter(|text| !text.is_empty())?;
    let _reported = field.check(validate::line(text));
    Some(text.to_owned())
}

type Mirrors = (Option<Destination>, Option<Percent>, Vec<HttpMirror>);

fn read_mirrors(fields: &mut Fields<'_>) -> Mirrors {
    let mirror = fields.field("mirror").and_then(|f| Destination::read(&f));
    let mirrors = fields.list("mirrors", |f| {
        let mut fields = f.fields()?;
        let destination = fields
            .required("destination", "name a service")
            .and_then(|f| Destination::read(&f));
        let share = fields
            .field("percentage")
            .map_or(Some(Percent::HUNDRED), |f| percentage(&f, false));
        fields.finish();
        Some(HttpMirror {
            destination: destination?,
            percentage: share?,
        })
    });
    if mirror.is_some() && !mirrors.is_empty() {
        fields.at.error("has both `mirror` and `mirrors`", "keep one of them");
    }
    let old = fields.old("mirrorPercent").and_then(|f| {
        f.warn(codes::SCHEMA_WARNING, "is deprecated", "use `mirrorPercentage.value`");
        f.u32(0..=100).and_then(|n| Percent::new(f64::from(n)))
    });
    let share = fields.field("mirrorPercentage");
    if let Some(share) = share.as_ref().filter(|_| mirror.is_none()) {
        share.warn(
            codes::NO_EFFECT,
            "has no effect without `mirror`",
            "give `mirror`, or `percentage` of each of `mirrors`",
        );
    }
    (mirror, share.and_then(|f| percentage(&f, false)).or(old), mirrors)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn bytes_are_read_in_both_alphabets() {
        for (text, expected) in [
            ("aGVsbG8=", Some(&b"hello"[..])),
            ("aGVsbG8", Some(b"hello")),
            ("_-8=", Some(&[0xff, 0xef])),
            ("", Some(b"")),
            ("a", None),
            ("a b=", None),
        ] {
            assert_eq!(base64(text).as_deref(), expected, "{text}");
        }
    }
}
