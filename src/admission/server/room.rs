//! How much of reviews may be in memory at a time.
//!
//! Each body has a limit of its own, but an API server sends hundreds of reviews at once, and one that is killed for want
//! of memory answers none. Room is taken as a body arrives, not as it is announced: who sends slowly holds only what he
//! sent.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reviews::LARGEST_BODY;

/// Of all bodies together. A review takes about five times its size at worst: body, document, and the trees and the masked
/// copies of a Secret. The memory limit of the Pod has to hold that beside the snapshot.
pub(super) const ROOM: usize = 32 << 20;
/// How long a body waits for others to leave: most reviews are answered within a millisecond.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is accounted for at least, and in steps of: small bodies cost more than their bytes.
const UNIT: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    taken: IntGauge,
}

/// A body, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Housed {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
    taken: IntGauge,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the body is larger than {} MiB", LARGEST_BODY >> 20)]
    TooLarge,
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
    #[error("more reviews are being judged than there is memory for: try again")]
    NoRoom,
}

impl Room {
    pub fn new(bytes: usize, taken: IntGauge) -> Self {
        Self { units: Arc::new(Semaphore::new(bytes / UNIT)), taken }
    }

    /// Reads a body to its end.
    pub async fn read<B>(&self, mut body: B) -> Result<Housed, ReadError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Where the length is announced, nothing of a body that is too large needs to be read.
        if body.size_hint().lower() > LARGEST_BODY as u64 {
            return Err(ReadError::TooLarge);
        }
        let mut housed = Housed { bytes: Vec::new(), permit: None, taken: self.taken.clone() };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ReadError::Unreadable(error.into().to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if housed.bytes.len() + data.len() > LARGEST_BODY {
                return Err(ReadError::TooLarge);
            }
            self.grow(&mut housed, data.len()).await?;
            housed.bytes.extend_from_slice(&data);
        }
        Ok(housed)
    }

    async fn grow(&self, housed: &mut Housed, by: usize) -> Result<(), ReadError> {
        let held = housed.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (housed.bytes.len() + by).div_ceil(UNIT).saturating_sub(held);
        let missing = u32::try_from(missing).map_err(|_| ReadError::TooLarge)?;
        let more = tokio::time::timeout(PATIENCE, Arc::clone(&self.units).acquire_many_owned(missing)).await;
        let Ok(Ok(more)) = more else { return Err(ReadError::NoRoom) };
        self.taken.add(i64::from(missing) * UNIT as i64);
        match &mut housed.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl Housed {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Frees the bytes of a body that was parsed; what was parsed from it still takes the room.
    pub fn forget_bytes(&mut self) {
        self.bytes = Vec::new();
    }
}

impl Drop for Housed {
    fn drop(&mut self) {
        let units = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.taken.sub(i64::try_from(units * UNIT).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt, channel::mpsc};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use std::convert::Infallible;

    use super::*;

    fn room(bytes: usize) -> Room {
        Room::new(bytes, IntGauge::new("taken", "bytes").unwrap())
    }

    fn full(length: usize) -> Full<Bytes> {
        Full::new(vec![b' '; length].into())
    }

    #[tokio::test]
    async fn bodies_take_room_until_they_are_dropped() {
        let room = room(4 * UNIT);
        let first = room.read(full(3 * UNIT)).await.unwrap();
        let second = room.read(full(1)).await.unwrap();
        assert_eq!((room.taken.get(), second.as_bytes()), (4 * UNIT as i64, &b" "[..]));
        assert!(matches!(room.read(full(1)).await, Err(ReadError::NoRoom)));
        drop(first);
        assert_eq!(room.taken.get(), UNIT as i64);
        assert_eq!(room.read(full(3 * UNIT)).await.unwrap().as_bytes().len(), 3 * UNIT);
        drop(second);
        assert_eq!(room.taken.get(), 0);
    }

    #[tokio::test]
    async fn a_body_waits_for_others_to_leave() {
        let room = room(2 * UNIT);
        let first = room.read(full(2 * UNIT)).await.unwrap();
        let (waited, ()) = tokio::join!(room.read(full(UNIT)), async move {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(waited.is_ok(), "{waited:?}");
    }

    #[tokio::test]
    async fn who_sends_slowly_holds_what_he_sent() {
        let room = room(8 * UNIT);
        let (mut sender, chunks) = mpsc::channel::<Bytes>(1);
        let slow = StreamBody::new(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))));
        let others = async {
            sender.send(vec![b' '; 10].into()).await.unwrap();
            while room.taken.get() == 0 {
                tokio::task::yield_now().await;
            }
            let other = room.read(full(7 * UNIT)).await.map(drop);
            sender.close().await.unwrap();
            other
        };
        let (slow, other) = tokio::join!(room.read(slow), others);
        assert!(other.is_ok(), "{other:?}");
        assert_eq!(slow.unwrap().as_bytes().len(), 10);
    }

    #[tokio::test]
    async fn a_body_has_a_limit_of_its_own() {
        let room = room(ROOM);
        assert!(matches!(room.read(full(LARGEST_BODY + 1)).await, Err(ReadError::TooLarge)));
        let chunks = futures::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(vec![b' '; 1 << 20].into())));
        assert!(matches!(room.read(StreamBody::new(chunks)).await, Err(ReadError::TooLarge)));
        assert_eq!(room.taken.get(), 0);
    }
}
