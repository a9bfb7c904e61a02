//! Reports that others read.

use serde_json::Value;

use crate::process::{Upstream, load, undisturbed};

#[tokio::test]
async fn a_page_holds_this_runs_figures_and_no_address_to_fetch() {
    let upstream = Upstream::start("").await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("run.html");
    let ended = load(&format!(
        "http://{}/</script><script>x --rate 200 --duration 1200ms --output json --html {}",
        upstream.address,
        page.display()
    ))
    .await;
    // A path is not made of such characters; this one is refused, and the page below has no way to hold it.
    assert_eq!(ended.code, 2, "{ended:?}");
    let ended = load(&format!(
        "http://{}/a --rate 200 --duration 1200ms --output json --html {}",
        upstream.address,
        page.display()
    ))
    .await;
    let (result, page) = (ended.json(), std::fs::read_to_string(&page).unwrap());
    let p99 = result["latency_ms"]["p99"].as_f64().unwrap();
    assert!(
        page.contains(&format!("<dt>p99</dt><dd>{p99:.3} ms</dd>")),
        "p99 {p99} is not in the page"
    );
    for title in ["Latency by percentile", "Latency over time", "Requests over time"] {
        assert!(page.contains(title), "{title}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    for fetched in [
        " src=", " href=", "url(", "@import", "<link", "<iframe", "<img", "<object", "xmlns", "fetch(",
    ] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    // The only address is the target's own, as text.
    let without = page.replace(&format!("http://{}", upstream.address), "");
    assert!(!without.contains("http://") && !without.contains("https://") && !without.contains("//www"));
    let data = page
        .split_once("id=\"result\">")
        .unwrap()
        .1
        .split_once("</script>")
        .unwrap()
        .0;
    let held: Value = serde_json::from_str(data).unwrap();
    assert_eq!(held, result, "the page carries the result");
}

#[tokio::test]
async fn every_form_of_a_report_is_what_it_is_called() {
    let upstream = Upstream::start("").await;
    let run = async |form: &str| {
        let ended = undisturbed(&format!(
            "http://{} --rate 100 --duration 1s --output {form}",
            upstream.address
        ))
        .await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "quiet when piped: {ended:?}");
        ended.out
    };
    let text = run("text").await;
    assert!(text.contains("p99.99") && text.contains("200 × 100"), "{text}");
    let csv = run("csv").await;
    assert!(csv.starts_with("second,answered,"), "{csv}");
    let answered: u64 = csv
        .lines()
        .skip(1)
        .map(|row| row.split(',').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(answered, 100, "{csv}");
    let hdr = run("hdr").await;
    assert!(
        hdr.contains("#[Histogram log format version 1.3]") && hdr.contains("Tag=latency"),
        "{hdr}"
    );
    let fortio: Value = serde_json::from_str(&run("fortio").await).unwrap();
    assert_eq!(
        (&fortio["RunType"], &fortio["RetCodes"]["200"]),
        (&"HTTP".into(), &100.into()),
        "{fortio}"
    );
    assert_eq!(fortio["DurationHistogram"]["Count"], 100);
    assert!(run("html").await.starts_with("<!doctype html>"));
    let json: Value = serde_json::from_str(&run("json").await).unwrap();
    for histogram in ["latency_ms", "service_time_ms"] {
        for name in ["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"] {
            assert!(json[histogram][name].is_number(), "{histogram} {name}");
        }
    }
    assert_eq!(json["rate"]["intended"], 100.0);
}

#[tokio::test]
async fn two_results_stand_side_by_side() {
    let upstream = Upstream::start("").await;
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, latency) in [("a", "40ms"), ("b", "1ms")] {
        upstream.behave(&serde_json::json!({"latency": latency})).await;
        let ended = load(&format!(
            "http://{} --rate 50 --duration 1s --output json",
            upstream.address
        ))
        .await;
        let file = folder.path().join(name);
        std::fs::write(&file, &ended.out).unwrap();
        files.push(file.display().to_string());
    }
    let compared = load(&format!("compare {} {}", files[0], files[1])).await;
    assert_eq!(compared.code, 0, "{compared:?}");
    let p50 = compared
        .out
        .lines()
        .find(|line| line.starts_with("latency p50"))
        .unwrap();
    assert!(p50.ends_with("better"), "{}", compared.out);
}
