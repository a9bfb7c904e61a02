//! Names of namespaces, subsets and Gateways; labels; lists of namespaces.

use std::collections::BTreeMap;

use crate::decode::{Check, Problem};
use crate::defaults::MESH_GATEWAY;

/// A DNS label (RFC 1123): a namespace, the name of a subset or port.
pub(crate) fn dns_label(name: &str) -> Check {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner) && bytes.len() <= 63 {
        return Ok(());
    }
    if name.is_empty() {
        return Err(Problem::new("is empty", "give a name"));
    }
    Err(Problem::new(
        format!("`{name}` is no name"),
        "use at most 63 letters, digits and `-`",
    ))
}

/// A label's key and value, as Kubernetes has them.
pub(crate) fn label_pair(key: &str, value: &str) -> Check {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let word = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() <= 63
            && bytes.iter().copied().all(inner)
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
    };
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if !word(name) {
        return Err(Problem::new(
            format!("`{key}` is no label key"),
            "use `[prefix/]name` of letters, digits, `-`, `_` and `.`",
        ));
    }
    if !value.is_empty() && !word(value) {
        return Err(Problem::new(
            format!("`{value}` is no label value"),
            "use at most 63 letters, digits, `-`, `_` and `.`",
        ));
    }
    Ok(())
}

/// The labels of a selector: legal pairs, no wildcard.
pub(crate) fn selector(labels: &BTreeMap<String, String>) -> Check {
    for (key, value) in labels {
        if key.contains('*') || value.contains('*') {
            return Err(Problem::new(
                format!("`{key}: {value}` holds a wildcard"),
                "a selector compares exactly",
            ));
        }
        label_pair(key, value)?;
    }
    Ok(())
}

/// `exportTo`. `hidden`: whether `~` may stand there (ServiceEntry only).
pub(crate) fn export_to(list: &[String], own: &str, hidden: bool) -> Check {
    let mut seen = Vec::new();
    for entry in list {
        match entry.as_str() {
            "*" | "." => {}
            "~" if hidden && list.len() == 1 => {}
            "~" if hidden => return Err(Problem::new("holds `~` beside others", "use `~` alone")),
            "~" => return Err(Problem::new("holds `~`", "use `.`, `*` or names of namespaces")),
            name => dns_label(name)?,
        }
        // The own namespace by its name is the same as `.`.
        let canonical = if entry == own { "." } else { entry };
        if seen.contains(&canonical) {
            return Err(Problem::new(
                format!("holds `{entry}` twice"),
                "name each namespace once",
            ));
        }
        seen.push(canonical);
    }
    if list.len() > 1 && list.iter().any(|e| e == "*") {
        return Err(Problem::new("holds `*` beside others", "use `*` alone"));
    }
    Ok(())
}

/// A reference to a Gateway. `Ok(true)`: the legacy dotted form.
pub(crate) fn gateway_reference(reference: &str) -> Check<bool> {
    let bad = || {
        Problem::new(
            format!("`{reference}` names no gateway"),
            "use `name`, `namespace/name` or `mesh`",
        )
    };
    if reference == MESH_GATEWAY {
        return Ok(false);
    }
    let (namespace, name) = match reference.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, reference),
    };
    if namespace.is_some_and(|n| n != "." && dns_label(n).is_err()) {
        return Err(bad());
    }
    // Names of Gateways may hold dots; without a namespace a dot is the old way to give one.
    if name.split('.').any(|part| dns_label(part).is_err()) {
        return Err(bad());
    }
    Ok(namespace.is_none() && name.contains('.'))
}
