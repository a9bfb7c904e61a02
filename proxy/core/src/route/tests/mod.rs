//! What routing must do, as tables and properties.

mod find;
mod headers;
mod matching;
mod normalize;
mod rewriting;
mod split;

use std::sync::Arc;

use http::HeaderMap;

use super::*;

/// A request to be matched.
struct Ask {
    method: &'static str,
    authority: &'static str,
    path: &'static str,
    headers: HeaderMap,
}

fn ask(authority: &'static str, path: &'static str) -> Ask {
    Ask {
        method: "GET",
        authority,
        path,
        headers: HeaderMap::new(),
    }
}

impl Ask {
    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, http::HeaderValue::from_static(value));
        self
    }

    fn head(&self) -> RequestHead<'_> {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path, None),
        };
        RequestHead {
            method: self.method,
            scheme: "http",
            authority: self.authority,
            path,
            query,
            headers: &self.headers,
        }
    }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(Text::new(text, false))
}

fn exact(text: &str) -> PathMatch {
    PathMatch::Exact(Text::new(text, false))
}

fn on_path(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        headers: Vec::new(),
        query: Vec::new(),
        grpc: false,
    }
}

fn header_is(name: &str, test: HeaderTest) -> HeaderMatch {
    HeaderMatch {
        name: HeaderKey::new(name).unwrap(),
        test,
        invert: false,
        missing_is_empty: false,
    }
}

/// A rule's `withoutHeaders` as it arrives.
fn without(name: &str, test: HeaderTest) -> HeaderMatch {
    let missing_is_empty = !matches!(test, HeaderTest::Present(_));
    HeaderMatch {
        invert: true,
        missing_is_empty,
        ..header_is(name, test)
    }
}

fn value(text: &str) -> HeaderTest {
    HeaderTest::Value(StringMatch::Exact(Text::new(text, false)))
}

fn regex(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn answering(name: &str, matcher: RouteMatch) -> Arc<Route> {
    Arc::new(Route {
        name: name.into(),
        virtual_host: "".into(),
        matcher,
        action: Action::DirectResponse(DirectResponse {
            status: http::StatusCode::OK,
            body: bytes::Bytes::new(),
        }),
        response_headers: HeaderOps::default(),
        filters: RouteFilters::default(),
        operation: None,
        provenance: None,
    })
}

fn host(name: &str, domains: &[&str], routes: Vec<Arc<Route>>) -> VirtualHost {
    let domains = domains.iter().map(|domain| (*domain).into()).collect();
    VirtualHost {
        name: name.into(),
        domains,
        routes,
        require_tls: RequireTls::No,
    }
}

fn to(name: &str, weight: u32) -> Destination {
    let cluster = Bindings::new(0).cluster(name).unwrap();
    Destination {
        cluster,
        weight,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        host: None,
    }
}
