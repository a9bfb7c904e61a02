//! Content → version: equal content has an equal version on every replica and across restarts.

use std::hash::{DefaultHasher, Hasher};

use crate::proto::Any;

/// Nesting beyond which bytes are hashed as they are. Envoy's own decoder stops at 100.
const NESTING_MAX: u32 = 64;

/// The version of a resource: 32 hexadecimal digits out of its content.
///
/// The encoder writes the entries of a protobuf map in random order, so plain bytes would make an unchanged resource
/// look new each time. Entries of a map are therefore hashed as a set: neighbouring fields of one number that look
/// like map entries, for the field numbers under which resources carry maps (`map_field`). All else counts in order.
/// Only the version ignores that order; the bytes that travel are never touched.
pub fn content_version(any: &Any) -> String {
    let mut hash = Hash128::new();
    hash.bytes(any.type_url.as_bytes());
    hash.nested(content_hash(&any.value, NESTING_MAX));
    format!("{:032x}", hash.finish())
}

/// 128 bits out of two runs of the standard hasher with its fixed keys.
struct Hash128(DefaultHasher, DefaultHasher);

impl Hash128 {
    fn new() -> Self {
        let mut second = DefaultHasher::new();
        second.write_u8(1);
        Self(DefaultHasher::new(), second)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for hasher in [&mut self.0, &mut self.1] {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    }

    fn nested(&mut self, hash: u128) {
        self.0.write_u128(hash);
        self.1.write_u128(hash);
    }

    fn finish(&self) -> u128 {
        (u128::from(self.0.finish()) << 64) | u128::from(self.1.finish())
    }
}

/// One field of a message as the wire has it.
struct Field<'a> {
    key: u64,
    /// The payload of a length-delimited field, else the raw bytes of the number.
    payload: &'a [u8],
}

impl Field<'_> {
    const LENGTH_DELIMITED: u64 = 2;

    fn is_length_delimited(&self) -> bool {
        self.key & 7 == Self::LENGTH_DELIMITED
    }

    fn number(&self) -> u64 {
        self.key >> 3
    }
}

fn content_hash(bytes: &[u8], depth: u32) -> u128 {
    let mut hash = Hash128::new();
    let fields = if depth == 0 { None } else { fields(bytes) };
    let Some(fields) = fields else {
        hash.bytes(bytes);
        return hash.finish();
    };
    let mut rest = fields.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let run = 1 + others.iter().take_while(|field| field.key == first.key).count();
        let (group, tail) = rest.split_at(run);
        let mut hashes: Vec<u128> = group.iter().map(|field| field_hash(field, depth)).collect();
        if run > 1 && group.iter().all(is_map_entry) {
            hashes.sort_unstable();
        }
        hash.nested(u128::from(first.key));
        for one in hashes {
            hash.nested(one);
        }
        rest = tail;
    }
    hash.finish()
}

fn field_hash(field: &Field<'_>, depth: u32) -> u128 {
    if field.is_length_delimited() {
        return content_hash(field.payload, depth - 1);
    }
    let mut hash = Hash128::new();
    hash.bytes(field.payload);
    hash.finish()
}

/// What a map may leave out of an entry: the encoder drops a key or value that is the default.
enum MapField {
    /// Values are messages that may be empty (`Struct.fields`, `Metadata.filter_metadata`).
    Sparse,
    /// Values are `Any`, never empty (`typed_per_filter_config` and the like), so a key alone is no entry of a map.
    Full,
}

/// The numbers of map fields in the messages that are served. Lists whose order matters (routes, filters, header
/// operations, weighted clusters) either have another number or entries of another shape.
fn map_field(number: u64) -> Option<MapField> {
    match number {
        1 | 2 => Some(MapField::Sparse),
        10 | 13 | 15 | 36 => Some(MapField::Full),
        _ => None,
    }
}

fn is_map_entry(field: &Field<'_>) -> bool {
    let Some(kind) = map_field(field.number()).filter(|_| field.is_length_delimited()) else {
        return false;
    };
    let Some(entry) = fields(field.payload) else {
        return false;
    };
    let numbers: Vec<u64> = entry
        .iter()
        .map(|part| if part.is_length_delimited() { part.number() } else { 0 })
        .collect();
    let key_is_text = entry
        .first()
        .is_none_or(|key| key.number() != 1 || std::str::from_utf8(key.payload).is_ok());
    key_is_text
        && match kind {
            MapField::Sparse => matches!(numbers.as_slice(), [1, 2] | [1] | [2]),
            MapField::Full => numbers == [1, 2],
        }
}

/// Splits a message into its fields; `None` when the bytes are no message (text, for example).
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (key, key_len) = varint(bytes)?;
        if key >> 3 == 0 {
            return None;
        }
        bytes = bytes.get(key_len..)?;
        let (skip, payload_len) = match key & 7 {
            0 => (0, varint(bytes)?.1),
            1 => (0, 8),
            Field::LENGTH_DELIMITED => {
                let (len, len_len) = varint(bytes)?;
                (len_len, usize::try_from(len).ok()?)
            }
            5 => (0, 4),
            _ => return None,
        };
        let end = skip.checked_add(payload_len)?;
        let payload = bytes.get(skip..end)?;
        found.push(Field { key, payload });
        bytes = bytes.get(end..)?;
    }
    Some(found)
}

/// A base-128 number and its length in bytes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::content_version;
    use crate::pb::core::Metadata;
    use crate::pb::protobuf::{Struct, Value, value::Kind};
    use crate::pb::route;
    use crate::{Any, pack};

    fn text(text: &str) -> Value {
        Value {
            kind: Some(Kind::StringValue(text.into())),
        }
    }

    /// A route table with enough map entries that two encodings of it differ as bytes.
    fn table(paths: &[&str], generation: &str) -> Any {
        let keys = ["object", "rule", "generation", "a", "b", "c", "d", "e"];
        let fields = keys.iter().map(|key| (key.to_string(), text(generation)));
        let filters = ["weft", "istio", "other", "more"];
        let metadata = Metadata {
            filter_metadata: filters
                .iter()
                .map(|name| {
                    (
                        name.to_string(),
                        Struct {
                            fields: fields.clone().collect(),
                        },
                    )
                })
                .collect(),
            ..Metadata::default()
        };
        let routes = paths.iter().map(|path| route::Route {
            r#match: Some(route::RouteMatch {
                path_specifier: Some(route::route_match::PathSpecifier::Prefix(path.to_string())),
                ..Default::default()
            }),
            action: Some(route::route::Action::Route(route::RouteAction::default())),
            metadata: Some(metadata.clone()),
            ..Default::default()
        });
        pack(&route::RouteConfiguration {
            name: "http.8080".into(),
            virtual_hosts: vec![route::VirtualHost {
                name: "a:80".into(),
                domains: vec!["a".into(), "a:80".into()],
                routes: routes.collect(),
                ..Default::default()
            }],
            ..Default::default()
        })
    }

    #[test]
    fn equal_content_has_an_equal_version_however_its_maps_are_encoded() {
        let encodings: Vec<Any> = (0..20).map(|_| table(&["/a", "/b"], "1")).collect();
        assert!(
            encodings.iter().any(|one| one != &encodings[0]),
            "the maps were never shuffled"
        );
        for one in &encodings {
            assert_eq!(content_version(one), content_version(&encodings[0]));
        }
    }

    #[test]
    fn a_change_of_content_or_of_order_is_a_new_version() {
        let base = content_version(&table(&["/a", "/b"], "1"));
        for other in [
            table(&["/b", "/a"], "1"),
            table(&["/a", "/b"], "2"),
            table(&["/a"], "1"),
            table(&["/a", "/b", "/b"], "1"),
        ] {
            assert_ne!(content_version(&other), base);
        }
    }

    #[test]
    fn bytes_that_are_no_message_still_have_a_version() {
        let any = |value: &[u8]| Any {
            type_url: "x/y".into(),
            value: value.to_vec(),
        };
        assert_ne!(content_version(&any(b"\xff\xff")), content_version(&any(b"\xff\xfe")));
        assert_ne!(content_version(&any(b"")), content_version(&any(b"a")));
    }
}
