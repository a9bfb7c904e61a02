//! Objects that are right: as people write them, and as old YAML means them.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weft_policies::kind::destination_rule::{LbPolicy, OutlierDetection};
use weft_policies::kind::virtual_service::{HttpAction, VirtualService};
use weft_policies::mesh::{self, MeshConfig, PathNormalization};
use weft_policies::{AnyObject, Finding, ObjectRef, Severity, read_all, yaml};

fn read(text: &str) -> (Vec<AnyObject>, Vec<Finding>) {
    let (documents, mut findings) = yaml::parse("rules.yaml", text);
    let (objects, more) = read_all(&documents);
    findings.extend(more);
    (objects, findings)
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn objects_of_real_users_are_taken_unchanged() {
    let mut found = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/real"),
        &mut found,
    );
    assert!(found.len() > 20);
    for path in found {
        let (objects, findings) = read(&std::fs::read_to_string(&path).unwrap());
        let errors: Vec<_> = findings.iter().filter(|f| f.is_error()).collect();
        assert!(
            !objects.is_empty() && errors.is_empty(),
            "{}: {errors:?}",
            path.display()
        );
    }
}

fn virtual_service(rules: &str) -> (Arc<weft_policies::Object<VirtualService>>, Vec<Finding>) {
    let text = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  hosts: [a]\n  http:\n  - {rules}\n"
    );
    let (objects, findings) = read(&text);
    match objects.into_iter().next() {
        Some(AnyObject::VirtualService(object)) => (object, findings),
        other => panic!("{rules}: {other:?} {findings:?}"),
    }
}

#[test]
fn old_fields_of_virtual_services_mean_what_they_meant() {
    let route = "route: [{destination: {host: a}}]";
    let cases = [
        (
            format!("{{{route}, websocketUpgrade: true}}"),
            format!("{{{route}}}"),
            "WFT0003",
        ),
        (
            format!("{{{route}, appendHeaders: {{x: z}}}}"),
            format!("{{{route}, headers: {{request: {{add: {{x: z}}}}}}}}"),
            "WFT0003",
        ),
        (
            format!("{{{route}, removeResponseHeaders: [x]}}"),
            format!("{{{route}, headers: {{response: {{remove: [x]}}}}}}"),
            "WFT0003",
        ),
        (
            "{route: [{destination: {host: a}, appendRequestHeaders: {x: z}}]}".to_owned(),
            "{route: [{destination: {host: a}, headers: {request: {add: {x: z}}}}]}".to_owned(),
            "WFT0003",
        ),
        (
            format!("{{{route}, fault: {{abort: {{httpStatus: 500, percent: 10}}}}}}"),
            format!("{{{route}, fault: {{abort: {{httpStatus: 500, percentage: {{value: 10}}}}}}}}"),
            "WFT0003",
        ),
        (
            format!("{{{route}, fault: {{delay: {{fixedDelay: 1s, percent: 10}}}}}}"),
            format!("{{{route}, fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 10}}}}}}}}"),
            "IST0002",
        ),
        (
            format!("{{{route}, mirror: {{host: m}}, mirror_percent: 5}}"),
            format!("{{{route}, mirror: {{host: m}}, mirrorPercentage: {{value: 5}}}}"),
            "IST0133",
        ),
        (
            format!("{{{route}, corsPolicy: {{allowOrigin: [\"*\", \"http://a\"]}}}}"),
            format!("{{{route}, corsPolicy: {{allowOrigins: [{{regex: \".*\"}}, {{exact: \"http://a\"}}]}}}}"),
            "IST0133",
        ),
        (
            format!("{{{route}, cors_policy: {{max_age: 1m}}}}"),
            format!("{{{route}, corsPolicy: {{maxAge: 60s}}}}"),
            "",
        ),
    ];
    for (old, new, code) in cases {
        let ((old, warnings), (new, silent)) = (virtual_service(&old), virtual_service(&new));
        assert_eq!(old.spec, new.spec);
        assert_eq!(silent, []);
        assert_eq!(warnings.first().map_or("", |f| f.code), code, "{warnings:?}");
    }
}

#[test]
fn a_port_by_name_is_kept_for_whoever_knows_the_service() {
    let (object, findings) = virtual_service("{route: [{destination: {host: a, port: {name: http}}}]}");
    let HttpAction::Route(route) = &object.spec.http[0].action else {
        panic!("{object:?}")
    };
    assert_eq!(
        (route[0].destination.port, route[0].destination.port_name.as_deref()),
        (None, Some("http"))
    );
    assert_eq!(findings[0].code, "WFT0003");
}

fn outlier(block: &str) -> (OutlierDetection, Vec<&'static str>) {
    let text = format!(
        "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {{name: d}}\nspec: {{host: a, trafficPolicy: {{outlierDetection: {block}}}}}\n"
    );
    let (objects, findings) = read(&text);
    let Some(AnyObject::DestinationRule(object)) = objects.first() else {
        panic!("{findings:?}")
    };
    let policy = object
        .spec
        .traffic_policy
        .clone()
        .and_then(|p| p.outlier_detection)
        .unwrap();
    (policy, findings.iter().map(|f| f.code).collect())
}

#[test]
fn consecutive_errors_become_gateway_errors() {
    let seconds = |n| Some(Duration::from_secs(n));
    let old = OutlierDetection {
        consecutive_gateway_errors: Some(7),
        consecutive_5xx_errors: Some(0),
        ..Default::default()
    };
    for (block, expected, codes) in [
        ("{}", OutlierDetection::default(), vec![]),
        ("{consecutiveErrors: 7}", old.clone(), vec!["WFT0002"]),
        (
            "{http: {consecutiveErrors: 7, interval: 1s, maxEjectionPercent: 100}}",
            OutlierDetection {
                interval: seconds(1),
                max_ejection_percent: Some(100),
                ..old
            },
            vec!["WFT0003", "WFT0002"],
        ),
        (
            "{consecutiveErrors: 7, consecutive5xxErrors: 2, baseEjectionTime: 3m}",
            OutlierDetection {
                consecutive_5xx_errors: Some(2),
                base_ejection_time: seconds(180),
                ..Default::default()
            },
            vec!["WFT0002"],
        ),
        ("{maxEjectionPercent: 0}", OutlierDetection::default(), vec![]),
    ] {
        assert_eq!(outlier(block), (expected, codes), "{block}");
    }
}

#[test]
fn the_three_versions_of_the_api_mean_the_same() {
    let spec = "kind: DestinationRule\nmetadata: {name: d}\nspec: {host: a, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}\n";
    for version in ["v1alpha3", "v1beta1", "v1"] {
        let (objects, findings) = read(&format!("apiVersion: networking.istio.io/{version}\n{spec}"));
        let Some(AnyObject::DestinationRule(object)) = objects.first() else {
            panic!("{findings:?}")
        };
        let balancer = object
            .spec
            .traffic_policy
            .as_ref()
            .and_then(|p| p.load_balancer.as_ref());
        assert_eq!(balancer.map(|b| &b.policy), Some(&LbPolicy::LeastRequest));
        assert_eq!(
            findings.iter().map(|f| f.severity).collect::<Vec<_>>(),
            [Severity::Info]
        );
    }
}

#[test]
fn the_generation_is_the_content_where_kubernetes_gives_none() {
    let generation = |text: &str| read(text).0[0].meta().generation;
    let head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n";
    let one = generation(&format!("{head}metadata: {{name: d}}\nspec: {{host: a}}\n"));
    assert_eq!(
        one,
        generation(&format!("# moved\n{head}spec: {{host: a}}\nmetadata: {{name: d}}\n"))
    );
    assert_ne!(
        one,
        generation(&format!("{head}metadata: {{name: d}}\nspec: {{host: b}}\n"))
    );
    assert_eq!(
        4,
        generation(&format!(
            "{head}metadata: {{name: d, generation: 4}}\nspec: {{host: a}}\n"
        ))
    );
}

fn mesh(text: &str) -> (Option<MeshConfig>, Vec<String>) {
    let object = ObjectRef {
        kind: "ConfigMap".into(),
        namespace: "istio-system".into(),
        name: "istio".into(),
    };
    let (mesh, findings) = mesh::decode(text, "mesh.yaml", 10, object);
    (mesh, findings.iter().map(ToString::to_string).collect())
}

#[test]
fn mesh_settings_have_istios_defaults_and_name_what_is_not_acted_upon() {
    assert_eq!(mesh(""), (Some(MeshConfig::default()), vec![]));
    let text = "connectTimeout: 2s\npathNormalization: {normalization: MERGE_SLASHES}\ndiscoverySelectors: [{}]\ningressClass: istio\nproxyHttpPort: 15080\n\
                defaultConfig: {tracing: {}, gatewayTopology: {numTrustedProxies: 2}}\naccessLogFile: /dev/stdout\n";
    let (found, findings) = mesh(text);
    let mut expected = MeshConfig {
        connect_timeout: Duration::from_secs(2),
        path_normalization: PathNormalization::MergeSlashes,
        proxy_http_port: Some(15080),
        access_log_file: "/dev/stdout".to_owned(),
        ..MeshConfig::default()
    };
    expected.default_config.num_trusted_proxies = 2;
    assert_eq!(found, Some(expected));
    assert_eq!(
        findings,
        [
            "warning[WFT0015] ConfigMap istio-system/istio (mesh.yaml:15) mesh.defaultConfig: holds settings that weft does not act upon: tracing",
            "warning[WFT0015] ConfigMap istio-system/istio (mesh.yaml:10) mesh: holds settings that weft does not act upon: discoverySelectors, ingressClass",
        ]
    );
}

#[test]
fn mesh_settings_that_are_wrong_are_refused_as_a_whole() {
    for (text, expected) in [
        (
            "connectTimeout: fast\n",
            "(mesh.yaml:10) mesh.connectTimeout: `fast` is no duration",
        ),
        ("a: {\n", "is not YAML"),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ALL}\n",
            "mesh.outboundTrafficPolicy.mode: is `ALLOW_ALL`; did you mean `ALLOW_ANY`?",
        ),
    ] {
        let (found, findings) = mesh(text);
        assert!(
            found.is_none() && findings.len() == 1 && findings[0].contains(expected),
            "{findings:?}"
        );
    }
}

#[test]
fn a_peer_authentication_says_once_that_mutual_tls_is_not_served_and_what_that_means() {
    for (spec, said) in [
        ("{mtls: {mode: STRICT}}", "ports under STRICT refuse everybody"),
        (
            "{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: STRICT}, '81': {mode: STRICT}}}",
            "ports under STRICT refuse everybody",
        ),
        ("{mtls: {mode: PERMISSIVE}}", "served in plain text"),
        ("{}", "served in plain text"),
    ] {
        let (objects, findings) = read(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p}}\nspec: {spec}\n"
        ));
        assert_eq!(objects.len(), 1, "{spec}: {findings:?}");
        let [finding] = &findings[..] else {
            panic!("{spec}: {findings:?}");
        };
        assert!(
            !finding.is_error() && finding.to_string().contains(said),
            "{spec}: {finding}"
        );
    }
}
