//! What a proxy would do with a call, answered by the real stages without a socket.
