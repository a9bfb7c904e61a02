use std::collections::BTreeMap;

use weft_proxy_core::chain::{AccessLog, AccessLogFormat};
use weft_xds::{Any, pb, unpack};

use super::context::Context;
use super::error::{At, Outcome};

/// Logs; sinks that are not known are ignored.
pub(super) fn access_logs(context: &mut Context<'_>, list: &[pb::accesslog::AccessLog]) -> Outcome<Vec<AccessLog>> {
    let mut logs = Vec::new();
    for (index, source) in list.iter().enumerate() {
        context.ignore_if(source.filter.is_some(), "access_log.filter");
        let Some(pb::accesslog::access_log::ConfigType::TypedConfig(any)) = &source.config_type else {
            continue;
        };
        logs.extend(access_log(context, any).at_index("access_log", index)?);
    }
    Ok(logs)
}

fn access_log(context: &mut Context<'_>, any: &Any) -> Outcome<Option<AccessLog>> {
    use pb::file_access_log::file_access_log::AccessLogFormat as Format;
    use pb::stream_access_log::{stderr_access_log, stdout_access_log};
    let kind = any.type_url.rsplit('/').next().unwrap_or_default();
    let (path, format) = match kind {
        "envoy.extensions.access_loggers.file.v3.FileAccessLog" => {
            let file = unpack::<pb::file_access_log::FileAccessLog>(any)?;
            let format = match file.access_log_format {
                None => AccessLogFormat::Default,
                Some(Format::Format(text)) => AccessLogFormat::Text(text.into()),
                Some(Format::JsonFormat(json) | Format::TypedJsonFormat(json)) => json_format(&json),
                Some(Format::LogFormat(format)) => log_format(context, &format),
            };
            (file.path, format)
        }
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" => {
            let stream = unpack::<pb::stream_access_log::StdoutAccessLog>(any)?;
            let format = match &stream.access_log_format {
                None => AccessLogFormat::Default,
                Some(stdout_access_log::AccessLogFormat::LogFormat(format)) => log_format(context, format),
            };
            ("/dev/stdout".to_owned(), format)
        }
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => {
            let stream = unpack::<pb::stream_access_log::StderrAccessLog>(any)?;
            let format = match &stream.access_log_format {
                None => AccessLogFormat::Default,
                Some(stderr_access_log::AccessLogFormat::LogFormat(format)) => log_format(context, format),
            };
            ("/dev/stderr".to_owned(), format)
        }
        other => {
            context.ignore(format!("access_log {other}"));
            return Ok(None);
        }
    };
    Ok(Some(AccessLog {
        path: path.into(),
        format,
    }))
}

fn log_format(context: &mut Context<'_>, source: &pb::core::SubstitutionFormatString) -> AccessLogFormat {
    use pb::core::data_source::Specifier;
    use pb::core::substitution_format_string::Format;
    match &source.format {
        Some(Format::TextFormat(text)) => AccessLogFormat::Text(text.as_str().into()),
        Some(Format::JsonFormat(json)) => json_format(json),
        Some(Format::TextFormatSource(data)) => match &data.specifier {
            Some(Specifier::InlineString(text)) => AccessLogFormat::Text(text.as_str().into()),
            _ => {
                context.ignore("access_log.text_format_source");
                AccessLogFormat::Default
            }
        },
        None => AccessLogFormat::Default,
    }
}

/// Texts of an object, one level deep, as Envoy's own default layout is.
fn json_format(json: &pb::protobuf::Struct) -> AccessLogFormat {
    let texts = json
        .fields
        .iter()
        .filter_map(|(key, value)| match value.kind.as_ref()? {
            pb::protobuf::value::Kind::StringValue(text) => Some((key.clone(), text.clone())),
            _ => None,
        });
    AccessLogFormat::Json(texts.collect::<BTreeMap<_, _>>())
}
