//! in → out: the resources of one proxy → what that proxy would hold after translating them.
//! owns: looking things up by name, as a snapshot does by slot.
//! may not touch: sockets, live state.
