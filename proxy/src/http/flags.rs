//! Envoy's response flags, the closed set that weft can raise.

/// One flag. The order is Envoy's own, which is the order in which joined flags are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flag {
    /// No healthy upstream endpoint.
    Uh = 0,
    /// A time limit of the route ended the request.
    Ut,
    /// The upstream reset the stream.
    Ur,
    /// The connection to the upstream failed.
    Uf,
    /// The upstream closed its connection.
    Uc,
    /// A limit of the cluster was reached.
    Uo,
    /// No route.
    Nr,
    /// The request was held back on purpose.
    Di,
    /// The request was answered on purpose.
    Fi,
    /// The client left first.
    Dc,
    /// The request would have been tried again, had it not been as often as it may.
    Urx,
    /// The client did not send or read in time.
    Si,
    /// The client broke the protocol.
    Dpe,
    /// The connection has lived as long as it may.
    Dt,
    /// The upstream broke the protocol.
    Upe,
    /// The route names a cluster that is not there.
    Nc,
}

const LETTERS: [(Flag, &str); 16] = [
    (Flag::Uh, "UH"),
    (Flag::Ut, "UT"),
    (Flag::Ur, "UR"),
    (Flag::Uf, "UF"),
    (Flag::Uc, "UC"),
    (Flag::Uo, "UO"),
    (Flag::Nr, "NR"),
    (Flag::Di, "DI"),
    (Flag::Fi, "FI"),
    (Flag::Dc, "DC"),
    (Flag::Urx, "URX"),
    (Flag::Si, "SI"),
    (Flag::Dpe, "DPE"),
    (Flag::Dt, "DT"),
    (Flag::Upe, "UPE"),
    (Flag::Nc, "NC"),
];

/// A set of flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags(u16);

impl Flags {
    /// No flag: `-` in logs and labels.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn raise(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u8;
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        let mut first = true;
        for (flag, letters) in LETTERS {
            if self.0 & 1 << flag as u8 != 0 {
                if !first {
                    f.write_str(",")?;
                }
                f.write_str(letters)?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_joined_in_their_own_order() {
        let mut flags = Flags::NONE;
        flags.raise(Flag::Uc);
        assert_eq!(flags.to_string(), "UC");
        flags.raise(Flag::Uf);
        assert_eq!(flags.to_string(), "UF,UC");
        flags.raise(Flag::Fi);
        flags.raise(Flag::Di);
        assert_eq!(flags.to_string(), "UF,UC,DI,FI");
        assert_eq!(Flags::NONE.to_string(), "-");
    }
}
