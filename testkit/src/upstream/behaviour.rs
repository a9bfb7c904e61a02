//! in → out: –. What a scripted upstream does with one request.
//! owns: the closed set of behaviours, good and bad.
//! may not touch: sockets.

use std::time::Duration;

/// What an upstream does once it has read the head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Reads the body, then answers.
    Answer {
        /// Status of the answer.
        status: u16,
        /// Fields besides `content-length`.
        fields: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// Reads the body, waits, then does the other thing.
    After(Duration, Box<Behaviour>),
    /// Answers at once, without reading the body; reads on afterwards.
    AnswerEarly(Box<Behaviour>),
    /// Reads the body, then writes these bytes as they are and keeps the connection.
    Raw(Vec<u8>),
    /// Reads the body, then writes these bytes as they are and closes.
    RawThenClose(Vec<u8>),
    /// Answers with the body that came, with the same framing.
    Echo,
    /// Writes the head and `pieces` pieces of `bytes` bytes each, chunked, with a pause before each.
    SlowBody {
        /// How many pieces.
        pieces: usize,
        /// Size of each.
        bytes: usize,
        /// Time before each.
        pause: Duration,
    },
    /// Promises a body of `promised` bytes, sends `sent` of them, then closes.
    CloseInBody {
        /// `content-length` of the answer.
        promised: usize,
        /// How much of it is sent.
        sent: usize,
    },
    /// Resets the connection at once.
    Reset,
    /// Closes the connection without a word.
    Close,
    /// Takes the request and never answers.
    Silence,
    /// Switches protocols and returns every byte that comes.
    Upgrade(String),
}

impl Behaviour {
    /// `200` with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Behaviour::status(200, body)
    }

    /// This status with this body.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Behaviour::Answer {
            status,
            fields: Vec::new(),
            body: body.into(),
        }
    }

    /// `200` with this body and these fields.
    pub fn with_fields(body: impl Into<Vec<u8>>, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Behaviour::Answer {
            status: 200,
            fields,
            body: body.into(),
        }
    }

    /// The same, `delay` later.
    pub fn after(self, delay: Duration) -> Self {
        Behaviour::After(delay, Box::new(self))
    }
}
