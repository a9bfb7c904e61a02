//! Bytes that have to come back as they are.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::Answer;
use super::connect::until;
use super::progress::Progress;
use super::stream::Stream;
use super::timer::Timer;
use super::{Failure, Kind, Phase};

/// The status that an echo is counted under: there is none on the wire.
pub(crate) const ECHOED: u16 = 200;
/// Bytes that are compared at once.
const PIECE_BYTES: usize = 4096;

/// A connection to an echo server.
pub(crate) struct Echo {
    stream: Stream,
}

impl Echo {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// See [`super::http1::Http1::poll_gone`].
    pub(crate) fn poll_gone(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.stream.poll_touched(context)
    }

    /// Sends `payload` and waits until all of it has come back.
    pub(crate) async fn exchange(
        &mut self,
        payload: &[u8],
        timer: &Timer,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let send = async {
            let mut left = payload;
            while !left.is_empty() {
                let count = writer.write(left).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                progress.wrote(count);
                left = &left[count..];
            }
            writer.flush().await?;
            if progress.phase() == Phase::Send {
                progress.reached(Phase::FirstByte);
            }
            Ok::<(), io::Error>(())
        };
        let receive = async {
            let mut piece = [0; PIECE_BYTES];
            let mut matched = 0;
            while matched < payload.len() {
                let wanted = piece.len().min(payload.len() - matched);
                let count = reader.read(&mut piece[..wanted]).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                progress.reached(Phase::Body);
                if piece[..count] != payload[matched..matched + count] {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                matched += count;
            }
            Ok(())
        };
        // Both at once: an echo of more than the buffers hold comes back while it is being sent.
        let both = async { tokio::try_join!(send, receive) };
        match until(timer, Phase::Send, both).await {
            Ok(Ok(_)) => Ok(Answer {
                status: ECHOED,
                bytes: payload.len() as u64,
                reusable: true,
                ..Answer::default()
            }),
            Ok(Err(error)) => Err(Failure::of_io(progress.phase(), &error)),
            Err(_) => Err(progress.failed(Kind::Timeout)),
        }
    }
}
