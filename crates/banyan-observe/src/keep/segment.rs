//! A segment: a file that blocks are appended to, each with its length and checksum; named by its first moment.
//!
//! One that was torn in the middle of an append ends with its last whole block; a block that is damaged is left out, and
//! with it the series whose names it brought.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::block::{Block, checksum};

const MAGIC: &[u8; 8] = b"banyan1\n";
/// Length and checksum.
const HEAD: usize = 8;
/// No block is longer: what says so is damaged.
const LONGEST: usize = 64 << 20;

/// Being written.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    pub(super) path: PathBuf,
    pub(super) start_ms: u64,
    pub(super) bytes: u64,
}

impl Open {
    pub(super) fn create(folder: &Path, start_ms: u64) -> io::Result<Self> {
        let path = folder.join(format!("{start_ms:013}.seg"));
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let begun = file.write_all(MAGIC);
        if let Err(error) = begun {
            // An empty one would be in the way of the next try.
            let _gone = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self {
            file,
            path,
            start_ms,
            bytes: MAGIC.len() as u64,
        })
    }

    /// Durable on return. `Err`: the file is as before, as far as the disk lets it.
    pub(super) fn append(&mut self, block: &[u8]) -> io::Result<()> {
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEAD + block.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum(block).to_le_bytes());
        bytes.extend_from_slice(block);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written
    }
}

/// Every whole block of a segment, in order.
pub(super) fn read(path: &Path) -> io::Result<Vec<Block>> {
    Ok(blocks(&fs::read(path)?))
}

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((sum, after)) = after.split_first_chunk::<4>() else {
            break;
        };
        let Some((body, after)) = after.split_at_checked(length).filter(|_| length <= LONGEST) else {
            break;
        };
        if checksum(body) == u32::from_le_bytes(*sum) {
            found.extend(Block::decode(body));
        }
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(at: u64) -> Block {
        Block {
            times: vec![at],
            rows: [(0, vec![1.0])].into(),
            ..Block::default()
        }
    }

    fn written(folder: &Path) -> PathBuf {
        let mut open = Open::create(folder, 5).unwrap();
        for at in 1..=3 {
            open.append(&block(at).encode()).unwrap();
        }
        assert_eq!(open.bytes, fs::metadata(&open.path).unwrap().len());
        open.path
    }

    fn times(path: &Path) -> Vec<u64> {
        read(path)
            .unwrap()
            .into_iter()
            .flat_map(|block| block.times)
            .collect()
    }

    #[test]
    fn wherever_it_is_torn_the_whole_blocks_before_are_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = written(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut seen = Vec::new();
        for length in (0..=whole.len()).rev() {
            fs::write(&path, &whole[..length]).unwrap();
            seen.push(times(&path).len());
        }
        assert_eq!((seen.first(), seen.last()), (Some(&3), Some(&0)));
        assert!(seen.windows(2).all(|pair| pair[0] >= pair[1]), "{seen:?}");
    }

    #[test]
    fn a_byte_that_changed_costs_its_block_or_what_follows_and_never_more() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = written(folder.path());
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x55;
            fs::write(&path, &damaged).unwrap();
            let left = times(&path);
            assert!(
                left.len() < 3 && left.iter().all(|at| (1..=3).contains(at)),
                "{place}: {left:?}"
            );
        }
    }
}
