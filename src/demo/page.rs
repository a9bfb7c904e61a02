//! Visits of the product page, as a browser makes them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use weft_bookinfo::client::Caller;

use super::admin::request;

/// How long a page may take: longer than the page itself waits for one of its parts.
const LIMIT: Duration = Duration::from_secs(5);

/// A visitor: one connection to the gateway.
#[derive(Debug)]
pub(super) struct Visitor {
    caller: Caller,
    host: String,
    cookie: Option<String>,
}

impl Visitor {
    pub(super) fn new(gateway: SocketAddr) -> Self {
        Self {
            caller: Caller::new(gateway, LIMIT),
            host: gateway.to_string(),
            cookie: None,
        }
    }

    /// One whole page; which version of reviews is on it.
    pub(super) async fn visit(&mut self) -> Result<String> {
        let mut request = request(&Method::GET, "/productpage", &self.host)?;
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert("cookie", cookie.parse()?);
        }
        let reply = self.caller.call(request).await?;
        if reply.status() != 200 {
            bail!("the page answered {}", reply.status().as_u16());
        }
        version(&String::from_utf8_lossy(reply.body()))
    }

    /// Signs in by the form of the page.
    pub(super) async fn sign_in(&mut self, user: &str) -> Result<()> {
        let form = Request::post("/login")
            .header("host", &self.host)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(format!("username={user}"))))?;
        let reply = self.caller.call(form).await?;
        let cookie = reply
            .headers()
            .get("set-cookie")
            .and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next());
        self.cookie = Some(cookie.context("signing in gave no cookie")?.to_owned());
        Ok(())
    }
}

fn version(page: &str) -> Result<String> {
    let attribute = |name: &str| {
        let (_, after) = page.split_once(&format!("{name}=\""))?;
        after.split_once('"').map(|(value, _)| value)
    };
    match attribute("data-failed") {
        Some("") => attribute("data-version")
            .map(str::to_owned)
            .context("the page does not say who reviewed"),
        Some(failed) => bail!("the page came without {failed}"),
        None => bail!("that is not the page"),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_page_that_lacks_a_part_is_a_failed_visit() {
        let page = |failed| format!("<body data-failed=\"{failed}\"><div data-version=\"v3\">");
        assert_eq!(version(&page("")).unwrap(), "v3");
        assert!(version(&page("details")).unwrap_err().to_string().contains("details"));
        assert!(version("<html>").is_err());
    }
}
