/// The authority of a copy that shall be told from its original: `-shadow` after the host, before a port.
pub fn shadow_authority(authority: &str) -> String {
    // A colon inside brackets is part of an address.
    let port = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let (host, port) = authority.split_at(port.unwrap_or(authority.len()));
    [host, "-shadow", port].concat()
}
