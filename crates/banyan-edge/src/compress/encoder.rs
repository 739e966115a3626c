//! One answer's encoder: bytes in, bytes out, at once.
//!
//! Levels are those whose output pays for its time on a core that answers others, too; windows of 128 KiB keep an encoder
//! below about 1 MiB.

use std::io::{self, Write};
use std::mem;

use banyan_config::Coding;
use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// A power of two, in bytes.
const WINDOW: u32 = 17;
/// Brotli hands its output over in pieces of this size.
const HANDED: usize = 16 * 1024;

pub(super) enum Encoder {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                HANDED,
                BROTLI_QUALITY,
                WINDOW,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW)?;
                Self::Zstd(encoder)
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
        })
    }

    /// What comes out of it; often nothing yet.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Brotli(encoder) => encoder.write_all(data)?,
            Self::Zstd(encoder) => encoder.write_all(data)?,
            Self::Gzip(encoder) => encoder.write_all(data)?,
        }
        Ok(self.take())
    }

    /// So much that all data written so far can be read from it.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Brotli(encoder) => encoder.flush()?,
            Self::Zstd(encoder) => encoder.flush()?,
            Self::Gzip(encoder) => encoder.flush()?,
        }
        Ok(self.take())
    }

    /// The end.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let last = match self {
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Gzip(encoder) => encoder.finish()?,
        };
        Ok(Bytes::from(last))
    }

    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        Bytes::from(mem::take(out))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let _cut_short_is_what_came = match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut out),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        };
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_goes_in_comes_out_and_after_a_flush_at_once(
            pieces in prop::collection::vec(("[ -~]{0,300}", any::<bool>()), 0..12),
        ) {
            for coding in Coding::ALL {
                let mut encoder = Encoder::new(coding).unwrap();
                let (mut sent, mut plain) = (Vec::new(), Vec::new());
                for (piece, flush) in &pieces {
                    plain.extend_from_slice(piece.as_bytes());
                    sent.extend_from_slice(&encoder.write(piece.as_bytes()).unwrap());
                    if *flush {
                        sent.extend_from_slice(&encoder.flush().unwrap());
                        prop_assert_eq!(&decode(coding, &sent), &plain);
                    }
                }
                sent.extend_from_slice(&encoder.finish().unwrap());
                prop_assert_eq!(&decode(coding, &sent), &plain);
            }
        }
    }
}
