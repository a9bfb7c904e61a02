//! Who this proxy is, as the control plane hears it.

use weft_xds::pb::core::{BuildVersion, Node, node::UserAgentVersionType};
use weft_xds::pb::protobuf::{ListValue, Struct, Value, value::Kind};

use crate::bootstrap::Bootstrap;

/// The node message of a bootstrap.
pub(crate) fn describe(bootstrap: &Bootstrap) -> Node {
    let fields = bootstrap
        .metadata
        .iter()
        .map(|(key, json)| (key.clone(), value(json)))
        .collect();
    Node {
        id: bootstrap.node.clone(),
        cluster: bootstrap.own.canonical_service.clone(),
        metadata: Some(Struct { fields }),
        user_agent_name: "weft".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion::default())),
        ..Node::default()
    }
}

fn value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(value).collect(),
        }),
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.iter().map(|(key, json)| (key.clone(), value(json))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}
