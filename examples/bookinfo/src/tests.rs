use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::client::Caller;
use crate::files::{PLATFORM, RULES};
use crate::pods::{App, PODS, Pod, Stars};
use crate::serve;

const LIMIT: Duration = Duration::from_secs(5);

/// Serves the application of a pod on any port; its "sidecar" is `http_proxy`.
async fn started(name: &str, http_proxy: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pod = Pod::named(name).unwrap();
    tokio::task::spawn_local(serve(listener, pod, http_proxy));
    address
}

async fn ask(to: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(target).header("host", "x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    Caller::new(to, LIMIT).call(request).await.unwrap()
}

async fn body(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> String {
    let reply = ask(to, "GET", target, headers, "").await;
    String::from_utf8(reply.body().to_vec()).unwrap()
}

#[tokio::test]
async fn each_version_of_reviews_has_its_own_look() {
    let play = async {
        let ratings = started("ratings-a", "127.0.0.1:1".parse().unwrap()).await;
        for (pod, color) in [
            ("reviews-v1", None),
            ("reviews-v2", Some("black")),
            ("reviews-v3", Some("red")),
        ] {
            // With a whole URI in the request line, as a proxy gets it, any of our servers stands in for one.
            let reviews = started(pod, ratings).await;
            let said: serde_json::Value = serde_json::from_str(&body(reviews, "/reviews/0", &[]).await).unwrap();
            assert_eq!(said["reviews"][0]["rating"]["color"].as_str(), color, "{pod}");
            assert_eq!(said["pod"], pod);
        }
    };
    LocalSet::new().run_until(play).await;
}

#[tokio::test]
async fn a_page_without_a_part_says_so_and_is_there() {
    let play = async {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let page = body(started("productpage-v1", nobody).await, "/productpage", &[]).await;
        assert!(page.contains("data-failed=\"details reviews\""), "{page}");
    };
    LocalSet::new().run_until(play).await;
}

#[tokio::test]
async fn who_signs_in_gets_a_cookie_and_is_greeted() {
    let play = async {
        let page = started("productpage-v1", "127.0.0.1:1".parse().unwrap()).await;
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let reply = ask(page, "POST", "/login", &form, "username=jason&passwd=").await;
        assert_eq!(reply.status(), StatusCode::SEE_OTHER);
        let cookie = reply.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        assert_eq!(cookie, "user=jason");
        let shown = body(page, "/productpage", &[("cookie", &cookie)]).await;
        assert!(shown.contains("signed in as <b>jason</b>"), "{shown}");
        let reply = ask(page, "POST", "/login", &form, "username=%3Cscript%3E").await;
        assert!(
            reply.headers()["set-cookie"].to_str().unwrap().starts_with("user=;"),
            "no such name"
        );
    };
    LocalSet::new().run_until(play).await;
}

#[tokio::test]
async fn an_application_fails_while_it_is_told_to() {
    let play = async {
        let ratings = started("ratings-b", "127.0.0.1:1".parse().unwrap()).await;
        for (knob, status) in [
            ("fail=true", 500),
            ("fail=false", 200),
            ("fail=perhaps", 400),
            ("speed=1", 400),
        ] {
            let turned = ask(ratings, "POST", &format!("/admin/knobs?{knob}"), &[], "").await;
            let reply = if turned.status() == 200 {
                ask(ratings, "GET", "/ratings/0", &[], "").await
            } else {
                turned
            };
            assert_eq!(reply.status().as_u16(), status, "{knob}");
        }
        let reply = ask(ratings, "GET", "/ratings/0", &[], "").await;
        assert_eq!(reply.headers()["x-served-by"], "ratings-b");
    };
    LocalSet::new().run_until(play).await;
}

#[test]
fn traces_and_the_user_go_on_and_cookies_do_not() {
    let mut incoming = HeaderMap::new();
    for name in [
        "traceparent",
        "x-request-id",
        "end-user",
        "cookie",
        "host",
        "connection",
    ] {
        incoming.insert(name, "1".parse().unwrap());
    }
    let mut names: Vec<_> = crate::upstream::passed_on(&incoming)
        .keys()
        .map(|name| name.to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["end-user", "traceparent", "x-request-id"]);
}

#[test]
fn what_a_service_says_is_shown_and_never_run() {
    let hostile = serde_json::json!({"version": "\"><script>", "reviews": [{"text": "<b>{style}", "reviewer": "&"}]});
    let page = crate::page::render(&crate::page::Page {
        user: None,
        details: Err("<i>"),
        reviews: Ok(&hostile),
    });
    assert!(
        !page.contains("<script>") && !page.contains("<b>") && !page.contains("<i>no"),
        "{page}"
    );
}

#[test]
fn the_files_in_the_program_are_those_in_the_folders() {
    for (folder, files) in [("platform", &PLATFORM[..]), ("rules", &RULES[..])] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let there: BTreeSet<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".yaml"))
            .collect();
        let known: BTreeSet<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known, there, "{folder}");
    }
}

#[test]
fn the_pods_are_those_of_the_platform() {
    let (_, text) = PLATFORM.iter().find(|(name, _)| *name == "pods.yaml").unwrap();
    for pod in PODS {
        let document = text
            .split("---\n")
            .find(|text| text.contains(&format!("name: {}\n", pod.name)))
            .unwrap();
        let application = pod.application().ip();
        for line in [
            format!("podIP: {}\n", pod.ip()),
            format!("labels: {{app: {}, version: {}}}\n", pod.service, pod.version),
            format!("weft.dev/application-address: {application}}}\n"),
        ] {
            assert!(document.contains(&line), "{}: {line}", pod.name);
        }
    }
    assert_eq!(Pod::named("reviews-v3").unwrap().app, App::Reviews(Stars::Red));
}
