//! The breaker exercise where things around it go wrong, and its page.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::{Upstream, finish, load, start, undisturbed};

/// A server of its own that answers each request, of one read, with what `answer` says of its number; `None` never answers.
async fn answering(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (answer, requests) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, requests) = (answer.clone(), requests.clone());
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    match answer(requests.fetch_add(1, Relaxed)) {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap_or_default(),
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    address
}

fn http(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Metrics that never change.
async fn quiet_metrics() -> String {
    let text = "envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=\"outbound|80||web\"} 7\n\
        envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name=\"outbound|80||web\"} 1\n";
    answering(move |_| Some(http(200, "", text))).await
}

#[tokio::test]
async fn rejections_for_other_reasons_neither_open_the_breaker_nor_are_held_against_overflows() {
    let target = answering(|request| {
        Some(match request % 4 {
            0 => http(503, "x-weft-reason: upstream.pick.no_endpoint\r\n", ""),
            1 => http(504, "x-weft-reason: upstream.response.timeout\r\n", ""),
            2 => http(429, "x-envoy-ratelimited: true\r\n", ""),
            _ => http(200, "", "ok"),
        })
    })
    .await;
    let ended = undisturbed(&format!(
        "breaker http://{target}/ --metrics http://{}/ --cluster ||web --callers 2 --step 300ms --recovery 50ms --output json",
        quiet_metrics().await
    ))
    .await;
    let findings = ended.json();
    assert_eq!(
        findings["broken"],
        json!(["the target did not recover after the load"]),
        "{findings:#}"
    );
    assert_eq!(findings["opens_at_callers"], Value::Null, "{findings:#}");
    assert_eq!(findings["ejections"], json!([]), "one was out before");
    let step = &findings["steps"][0];
    let reasons = step["rejected_otherwise"].as_object().unwrap();
    let names: Vec<&str> = reasons.keys().map(String::as_str).collect();
    assert_eq!(names, ["RL", "upstream.pick.no_endpoint", "upstream.response.timeout"]);
    let rejected: u64 = reasons.values().filter_map(Value::as_u64).sum();
    assert_eq!(
        (&step["refused"], &step["refused_ms"]),
        (&json!({}), &Value::Null),
        "{step:#}"
    );
    assert_eq!(
        step["requests"],
        step["served"].as_u64().unwrap() + rejected,
        "{step:#}"
    );
}

#[tokio::test]
async fn findings_outlive_a_proxy_that_stops_answering() {
    let target = answering(|_| Some(http(200, "", "ok"))).await;
    let text = "envoy_cluster_upstream_rq_pending_overflow{cluster_name=\"web\"} 0\n";
    let (mut metrics, mut ended);
    let mut attempts = 0;
    // Again while the machine was too busy for the generator, each time with a proxy that has not stopped yet.
    loop {
        metrics = answering(move |look| (look < 2).then(|| http(200, "", text))).await;
        let line =
            format!("breaker http://{target}/ --metrics http://{metrics}/ --callers 1 --step 600ms --output json");
        ended = load(&line).await;
        attempts += 1;
        if ended.code != 8 || attempts == 10 {
            break;
        }
    }
    let findings = ended.json();
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(findings["steps"][0]["served"].as_u64().unwrap() > 0, "{findings:#}");
    assert_eq!(findings["held"], false);
    let unread = findings["unread"][0].as_str().unwrap();
    assert!(
        unread.contains(&metrics) && unread.contains("no answer within 5 s"),
        "{unread}"
    );
    assert!(
        ended.err.contains(&metrics) && ended.err.lines().count() == 1,
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_one_line_before_any_load() {
    let target = answering(|_| Some(http(200, "", "ok"))).await;
    let (metrics, page) = (
        quiet_metrics().await,
        answering(|_| Some(http(200, "", "hello\n"))).await,
    );
    let ledger = answering(|_| Some(http(200, "", r#"{"requests": {"in_flight_highest": 0}}"#))).await;
    for (flags, words) in [
        ("--metrics garbage".to_owned(), "--metrics \"garbage\""),
        (
            format!("--metrics http://{page}/"),
            "counts nothing of circuit breakers",
        ),
        (
            format!("--metrics http://{metrics}/ --cluster shop"),
            "no cluster's name contains \"shop\"; there are outbound|80||web",
        ),
        // The name of a metric is no cluster's.
        (
            format!("--metrics http://{metrics}/ --cluster overflow"),
            "contains \"overflow\"",
        ),
        ("--cluster shop".to_owned(), "needs --metrics"),
        (format!("--ledger http://{page}"), "is not a ledger"),
        (
            format!("--ledger http://{ledger} --limit connections"),
            "counts no connections",
        ),
        ("--limit requests".to_owned(), "--ledger"),
        ("--streams 4".to_owned(), "--streams"),
        ("--arrivals poisson".to_owned(), "--arrivals"),
        ("--step 2h".to_owned(), "at most 1h"),
        ("--recovery 2h".to_owned(), "at most 1h"),
        ("--expect-limit 0".to_owned(), "--expect-limit"),
    ] {
        let ended = load(&format!("breaker http://{target}/ {flags} --callers 1")).await;
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{flags}: {ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(words), "{flags}: {}", ended.err);
    }
    let ssh = answering(|_| Some("SSH-2.0-OpenSSH_9.9\r\n".to_owned())).await;
    let other = load(&format!("breaker http://{ssh}/ --step 300ms --output json")).await;
    assert_eq!((other.code, other.err.lines().count()), (7, 1), "{other:?}");
    assert_eq!(
        other.json()["steps"].as_array().unwrap().len(),
        1,
        "it stops at the first step"
    );
    let nobody = load(&format!("breaker http://{target}/ --metrics http://127.0.0.1:1/")).await;
    assert_eq!(nobody.code, 5, "{nobody:?}");
}

#[tokio::test]
async fn an_exercise_whose_generator_was_stopped_is_invalid_and_says_so() {
    let upstream = Upstream::start("--latency|5ms").await;
    let child = start(&format!(
        "breaker http://{}/ --callers 2 --step 3s --output json",
        upstream.address
    ));
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    upstream.busy().await;
    kill_process(pid, Signal::STOP).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    kill_process(pid, Signal::CONT).unwrap();
    let ended = finish(child).await;
    let findings = ended.json();
    assert_eq!(
        (ended.code, &findings["valid"]),
        (8, &Value::Bool(false)),
        "{findings:#}"
    );
    assert!(
        findings["invalid_because"][0]
            .as_str()
            .unwrap()
            .starts_with("with 2 callers: ")
    );
}

#[tokio::test]
async fn the_page_of_a_breaker_holds_its_findings_and_no_address_to_fetch() {
    let upstream = Upstream::start("--latency|5ms").await;
    let target = answering(|request| {
        Some(match request % 3 {
            0 => http(503, "x-envoy-overloaded: true\r\n", ""),
            1 => http(503, "x-weft-reason: <b>&nowhere\r\n", ""),
            _ => http(200, "", "ok"),
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("breaker.html");
    let ended = load(&format!(
        "breaker http://{target}/ --ledger http://{} --callers 1,2 --step 200ms --recovery 100ms --output json --html {}",
        upstream.admin,
        file.display()
    ))
    .await;
    let (findings, page) = (ended.json(), std::fs::read_to_string(&file).unwrap());
    for title in ["What becomes of requests", "p99 of each", "At the upstream"] {
        assert!(page.contains(title), "{title}");
    }
    let (markup, data) = page.split_once("id=\"result\">").unwrap();
    assert!(markup.contains("<dt>opens with</dt><dd>1 callers</dd>"), "{page}");
    assert!(
        markup.contains("rejected: &lt;b&gt;&amp;nowhere") && !markup.contains("<b>"),
        "{page}"
    );
    assert_eq!(page.matches("<svg").count(), 3);
    for fetched in [
        " src=", " href=", "url(", "@import", "<link", "<iframe", "<img", "<object", "xmlns", "fetch(",
    ] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    // The only address is the target's own, as text.
    let without = page.replace(&format!("http://{target}"), "");
    assert!(!without.contains("http://") && !without.contains("https://") && !without.contains("//www"));
    let held: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(held, findings, "the page carries the findings");
}
