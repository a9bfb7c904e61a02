//! What gRPC calls an error is one, whatever HTTP says.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::process::undisturbed;

/// A response: HTTP's status, headers, messages as bytes, trailers; without the last two it is its head alone.
type Reply = (
    u16,
    &'static [(&'static str, &'static str)],
    Option<(&'static [u8], &'static str)>,
);

/// Answers every request in one way.
async fn answering((status, headers, rest): Reply) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(*name, *value);
                    }
                    let mut body = respond
                        .send_response(response.body(()).unwrap(), rest.is_none())
                        .unwrap();
                    if let Some((message, grpc_status)) = rest {
                        body.send_data(Bytes::from_static(message), false).unwrap();
                        let status = (
                            HeaderName::from_static("grpc-status"),
                            HeaderValue::from_static(grpc_status),
                        );
                        body.send_trailers(HeaderMap::from_iter([status])).unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn errors_of_grpc_count_as_errors_wherever_the_response_says_so() {
    const LOCAL_REPLY: &[(&str, &str)] = &[
        ("grpc-status", "14"),
        ("grpc-message", "overflow"),
        ("x-envoy-overloaded", "true"),
        ("x-weft-reason", "upstream.admit.pending"),
    ];
    const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
    for (reply, method, grpc_codes, errors, flags) in [
        ((200, &[][..], Some((SERVING, "0"))), "", json!({"0": 20}), 0, json!({})),
        (
            (200, &[], Some((&b"\0\0\0\0\x02\x08\x02"[..], "0"))),
            "",
            json!({"0": 20}),
            20,
            json!({}),
        ),
        ((200, LOCAL_REPLY, None), "", json!({"14": 20}), 20, json!({"UO": 20})),
        (
            (200, &[], Some((SERVING, "5"))),
            "/a.B/C",
            json!({"5": 20}),
            20,
            json!({}),
        ),
        (
            (503, &[("x-envoy-overloaded", "true")], None),
            "/a.B/C",
            json!({"14": 20}),
            20,
            json!({"UO": 20}),
        ),
    ] {
        let at = answering(reply).await;
        let line = format!("grpc://{at}{method} --rate 20 --duration 1s --output json --expect error_rate==0%");
        let ended = undisturbed(&line).await;
        let result = ended.json();
        assert_eq!(ended.code, if errors > 0 { 3 } else { 0 }, "{reply:?}: {ended:?}");
        assert_eq!(result["grpc_codes"], grpc_codes, "{reply:?}");
        assert_eq!(result["requests"]["answered_errors"], errors, "{reply:?}");
        assert_eq!(result["mesh"]["flags"], flags, "{reply:?}");
        let refused: u64 = result["series"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["refused"].as_u64())
            .sum();
        assert_eq!(refused, errors, "{reply:?}");
    }
    // OK with no message, or with half of one, is no answer.
    for message in [&b""[..], b"\0\0\0\0\xffab"] {
        let at = answering((200, &[], Some((message, "0")))).await;
        let ended = undisturbed(&format!("grpc://{at} --rate 20 --duration 500ms --output json")).await;
        assert_eq!(ended.code, 7, "{ended:?}");
        assert_eq!(
            ended.json()["errors"]["kinds"],
            json!({"body.protocol": 10}),
            "{ended:?}"
        );
    }
}
