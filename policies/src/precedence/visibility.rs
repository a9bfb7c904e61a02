//! `exportTo`: who sees an object.

/// How an object reaches a client's namespace. The order is the order in which VirtualServices are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Stated for its own namespace, which is the client's.
    Private,
    /// Stated for the client's namespace, which is another.
    Named,
    /// Public.
    Public,
}

/// How an object of namespace `own` with this `exportTo` reaches namespace `client`; `None`: not at all.
/// An empty list takes `mesh_default`. `*` anywhere is public, `~` nobody, `.` the own namespace.
pub fn reach(export_to: &[String], mesh_default: &[String], own: &str, client: &str) -> Option<Reach> {
    let stated = if export_to.is_empty() { mesh_default } else { export_to };
    if stated.iter().any(|e| e == "*") {
        return Some(Reach::Public);
    }
    if stated.iter().any(|e| e == "~") {
        return None;
    }
    let named = stated
        .iter()
        .any(|e| if e == "." { own == client } else { e == client });
    named.then_some(if own == client { Reach::Private } else { Reach::Named })
}

/// Whether an object of namespace `own` is visible in namespace `client`.
pub fn exported_to(export_to: &[String], mesh_default: &[String], own: &str, client: &str) -> bool {
    reach(export_to, mesh_default, own, client).is_some()
}
