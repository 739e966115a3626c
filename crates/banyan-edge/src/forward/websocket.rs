//! WebSocket frames as far as one must know them to say goodbye between two of them (RFC 6455 §5.2).
//!
//! Nothing is checked or changed: what the two sides say to each other is theirs. Pure.

/// 1001, "going away", from a server.
pub(super) const GOODBYE: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// The same from a client, whose frames are masked (with zeros: there is nothing to hide).
pub(super) const GOODBYE_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Where one direction stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    header: [u8; 14],
    have: u8,
    /// Of the current frame's payload.
    left: u64,
}

impl Frames {
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// How many of these bytes belong to the frame that has begun; 0 between two.
    pub(super) fn rest_of_frame(&self, bytes: &[u8]) -> usize {
        if self.is_between() {
            return 0;
        }
        let (mut copy, mut passed) = (*self, 0);
        while passed < bytes.len() && !copy.is_between() {
            passed += copy.step(&bytes[passed..]);
        }
        passed
    }

    /// Goes on to the end of the header, of the payload, or of the bytes.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= count as u64;
            return count;
        }
        let mut used = 0;
        for byte in bytes {
            self.header[usize::from(self.have)] = *byte;
            self.have += 1;
            used += 1;
            if let Some(length) = self.length() {
                *self = Self {
                    left: length,
                    ..Self::default()
                };
                break;
            }
        }
        used
    }

    /// Of the payload, once the header is complete.
    fn length(&self) -> Option<u64> {
        let have = usize::from(self.have);
        let second = *self.header[..have].get(1)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if have < 2 + extended + mask {
            return None;
        }
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(match extended {
            0 => u64::from(second & 0x7f),
            _ => big_endian(&self.header[2..2 + extended]),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![0x82];
        let mask = if masked { 0x80 } else { 0 };
        match length {
            0..=125 => bytes.push(mask | length as u8),
            126..=65535 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    proptest! {
        #[test]
        fn the_end_of_each_frame_is_found_however_the_bytes_are_cut(
            lengths in prop::collection::vec((prop_oneof![0_usize..130, 65_530_usize..65_540], any::<bool>()), 1..6),
            cuts in prop::collection::vec(1_usize..5000, 1..20),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (length, masked) in lengths {
                bytes.extend(frame(length, masked));
                ends.push(bytes.len());
            }
            let (mut frames, mut at) = (Frames::default(), 0);
            for cut in cuts.iter().cycle() {
                prop_assert_eq!(frames.is_between(), ends.contains(&at), "at {}", at);
                let next = ends.iter().find(|end| **end >= at).unwrap() - at;
                prop_assert_eq!(frames.rest_of_frame(&bytes[at..]), next);
                if at == bytes.len() {
                    break;
                }
                let now = (*cut).min(bytes.len() - at);
                frames.pass(&bytes[at..at + now]);
                at += now;
            }
        }
    }

    #[test]
    fn the_goodbyes_are_whole_frames() {
        for goodbye in [&GOODBYE[..], &GOODBYE_MASKED] {
            let mut frames = Frames::default();
            frames.pass(goodbye);
            assert!(frames.is_between());
        }
    }
}
