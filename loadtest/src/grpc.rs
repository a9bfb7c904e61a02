//! in → out: a method, and a message as JSON, bytes or nothing → the bytes of a gRPC message.
//! owns: gRPC's framing; the health check as the default.
//! may not touch: sockets.

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::flags::FlagError;
use crate::input;

/// The method that is called where a URL names none (gRPC Health Checking Protocol).
pub(crate) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// The message of a health check that says SERVING (`status` = 1).
pub(crate) const SERVING: &[u8] = &[0x08, 1];

/// Bytes of a descriptor set, at most.
const DESCRIPTOR_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A message with its prefix: not compressed, length, bytes (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("a body is bounded far below 4 GiB"));
    bytes.put_slice(message);
    bytes.freeze()
}

/// The message of `path` (`/package.Service/Method`) that JSON describes.
///
/// # Errors
/// If the descriptor set cannot be read, knows no such unary method, or the JSON is no such message.
pub(crate) fn from_json(descriptor: &Path, path: &str, json: &[u8]) -> Result<Vec<u8>, FlagError> {
    let shown = descriptor.to_string_lossy();
    let file = |problem: String| FlagError::File {
        flag: "--descriptor",
        path: shown.clone().into_owned(),
        problem,
    };
    let bytes = input::file("--descriptor", descriptor, DESCRIPTOR_BYTES_MAX)?;
    let pool = DescriptorPool::decode(bytes.as_slice())
        .map_err(|error| file(format!("is not a descriptor set with all its imports: {error}")))?;
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let found = pool
        .get_service_by_name(service)
        .and_then(|service| service.methods().find(|known| known.name() == method))
        .ok_or_else(|| file(format!("knows no method {service}/{method}")))?;
    if found.is_client_streaming() || found.is_server_streaming() {
        return Err(file(format!(
            "{service}/{method} is a stream; only unary methods can be called"
        )));
    }
    let wrong = |problem: String| FlagError::Value {
        flag: "--data",
        value: String::from_utf8_lossy(json).into_owned(),
        wanted: format!("must be a {} in JSON: {problem}", found.input().full_name()),
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(found.input(), &mut reader).map_err(|error| wrong(error.to_string()))?;
    reader.end().map_err(|error| wrong(error.to_string()))?;
    Ok(message.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
    use prost_reflect::prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    };

    use super::*;

    fn descriptor() -> tempfile::NamedTempFile {
        let method = |name: &str, stream: bool| MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(".t.Q".to_owned()),
            output_type: Some(".t.Q".to_owned()),
            server_streaming: Some(stream),
            ..Default::default()
        };
        let set = FileDescriptorSet {
            file: vec![FileDescriptorProto {
                name: Some("t.proto".to_owned()),
                package: Some("t".to_owned()),
                syntax: Some("proto3".to_owned()),
                message_type: vec![DescriptorProto {
                    name: Some("Q".to_owned()),
                    field: vec![FieldDescriptorProto {
                        name: Some("text".to_owned()),
                        number: Some(1),
                        label: Some(Label::Optional.into()),
                        r#type: Some(Type::String.into()),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                service: vec![ServiceDescriptorProto {
                    name: Some("S".to_owned()),
                    method: vec![method("Ask", false), method("Watch", true)],
                    ..Default::default()
                }],
                ..Default::default()
            }],
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), set.encode_to_vec()).unwrap();
        file
    }

    #[test]
    fn json_becomes_the_message_of_the_method() {
        let file = descriptor();
        let message = from_json(file.path(), "/t.S/Ask", br#"{"text":"hi"}"#).unwrap();
        assert_eq!(message, [0x0a, 2, b'h', b'i']);
        assert_eq!(&framed(&message)[..], [0, 0, 0, 0, 4, 0x0a, 2, b'h', b'i']);
    }

    #[test]
    fn what_the_method_does_not_take_is_refused_in_one_line() {
        let file = descriptor();
        for (path, json, words) in [
            ("/t.S/Ask", r#"{"txt":"hi"}"#, "must be a t.Q in JSON"),
            ("/t.S/Ask", r#"{"text":"hi"} {}"#, "must be a t.Q in JSON"),
            ("/t.S/Watch", "{}", "is a stream"),
            ("/t.S/No", "{}", "knows no method t.S/No"),
        ] {
            let error = from_json(file.path(), path, json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        }
    }
}
