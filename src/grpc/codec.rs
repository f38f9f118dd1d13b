//! How the contract's messages become bytes. tonic keeps a buffer a stream for as long as the stream lives, and
//! lets it grow by doubling: for a hundred thousand watches that are idle most of the time that is most of their
//! memory. So ours begins small, takes one message at a time, and grows to what that needs.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::{ProstCodec, ProstDecoder};

/// What a stream's buffer begins with: room for a heartbeat, and for most single messages.
const SMALL: usize = 512;

/// A message is sent as soon as it stands in the buffer, and not kept until others have filled it.
const AT_ONCE: usize = 1;

/// tonic's codec for protobuf, but for its buffer for answers.
#[derive(Debug, Clone)]
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = SmallEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        SmallEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::default())
    }
}

/// Encodes a message into as much room as it needs.
#[derive(Debug, Clone)]
pub struct SmallEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for SmallEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode(buf).map_err(|_| Status::internal("an answer does not fit its buffer"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(SMALL, AT_ONCE)
    }
}
