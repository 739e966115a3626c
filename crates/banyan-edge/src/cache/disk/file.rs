//! One object as a file: what it is stored under, its head, its body (or, of a long one, the digests of its slices: it lies
//! beside), and a digest of all of it. Written under another name and renamed when it is whole, so that a file with its name is
//! never one that is being written; what a crash of the machine has torn, the digest tells.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use banyan_httpcache::Head;

use super::body::Digest;

const MAGIC: &[u8; 8] = b"banyanC2";
/// No piece is said to be longer.
const LONGEST: u64 = 1 << 40;

/// What a file says.
#[derive(Debug)]
pub(super) struct Written {
    pub uri: String,
    pub side: String,
    /// Of the process whose ticks `born` counts by.
    pub era: u64,
    /// The tick of the purges at which its request began.
    pub born: u64,
    pub head: Head,
    pub pieces: Vec<(u64, Bytes)>,
    /// Of a body in a file of its own: its length and its digests.
    pub beside: Option<(u64, Vec<Digest>)>,
}

impl Written {
    /// Bytes of the file.
    pub(super) fn write(&self, unfinished: &Path, path: &Path) -> io::Result<u64> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(unfinished)?;
        let mut out = Out {
            file: BufWriter::new(file),
            digest: Sha256::new(),
            count: 0,
        };
        out.put(MAGIC)?;
        out.text(self.uri.as_bytes())?;
        out.text(self.side.as_bytes())?;
        out.number(self.era)?;
        out.number(self.born)?;
        out.text(&self.head.to_bytes())?;
        out.number(self.pieces.len() as u64)?;
        for (first, bytes) in &self.pieces {
            out.number(*first)?;
            out.text(bytes)?;
        }
        let (length, digests) = match &self.beside {
            Some((length, digests)) => (*length, digests.as_slice()),
            None => (0, &[][..]),
        };
        out.number(length)?;
        out.text(digests.as_flattened())?;
        let count = out.end()?;
        std::fs::rename(unfinished, path)?;
        Ok(count)
    }

    /// `Ok(None)`: it is not whole.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut from = In {
            file: BufReader::new(file),
            digest: Sha256::new(),
            left: length,
        };
        match from.written() {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Out {
    file: BufWriter<File>,
    digest: Sha256,
    count: u64,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.count += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        self.put(&number.to_le_bytes())
    }

    fn text(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len() as u64)?;
        self.put(bytes)
    }

    fn end(mut self) -> io::Result<u64> {
        let digest = std::mem::take(&mut self.digest).finalize();
        self.file.write_all(&digest)?;
        self.file.flush()?;
        Ok(self.count + digest.len() as u64)
    }
}

struct In {
    file: BufReader<File>,
    digest: Sha256,
    /// Of the file: nothing is believed to be longer.
    left: u64,
}

impl In {
    fn written(&mut self) -> io::Result<Written> {
        if self.bytes(MAGIC.len() as u64)? != MAGIC[..] {
            return Err(invalid());
        }
        let (uri, side) = (self.word()?, self.word()?);
        let (era, born) = (self.number()?, self.number()?);
        let head = self.text()?;
        let head = Head::from_bytes(&head).ok_or_else(invalid)?;
        let mut pieces = Vec::new();
        for _ in 0..self.number()? {
            let first = self.number()?;
            pieces.push((first, Bytes::from(self.text()?)));
        }
        let (length, digests) = (self.number()?, self.text()?);
        let (digests, rest) = digests.as_chunks();
        let beside = (length > 0).then(|| (length, digests.to_vec()));
        if !rest.is_empty() {
            return Err(invalid());
        }
        let digest = std::mem::take(&mut self.digest).finalize();
        let mut said = Vec::new();
        self.file.read_to_end(&mut said)?;
        if said != digest[..] {
            return Err(invalid());
        }
        Ok(Written {
            uri,
            side,
            era,
            born,
            head,
            pieces,
            beside,
        })
    }

    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        if count > self.left || count > LONGEST {
            return Err(invalid());
        }
        self.left -= count;
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| invalid())?];
        self.file.read_exact(&mut bytes)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        let bytes = self.bytes(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| invalid())?))
    }

    fn text(&mut self) -> io::Result<Vec<u8>> {
        let count = self.number()?;
        self.bytes(count)
    }

    fn word(&mut self) -> io::Result<String> {
        String::from_utf8(self.text()?).map_err(|_| invalid())
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_httpcache::freshness::Source;
    use banyan_httpcache::vary::Selection;
    use banyan_httpcache::{Extent, Staleness, Time};
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn object() -> Written {
        Written {
            uri: "http://a/x?y".to_owned(),
            side: "route\nweb".to_owned(),
            era: 7,
            born: 3,
            head: Head {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                selection: Selection::default(),
                extent: Extent::Whole,
                date: Time::from_millis(1),
                received: Time::from_millis(2),
                age: Duration::ZERO,
                lifetime: Duration::from_secs(60),
                source: Source::MaxAge,
                staleness: Staleness::Forbidden,
                always_validate: false,
                invalidated: false,
                tags: Vec::new(),
            },
            pieces: vec![
                (0, Bytes::from_static(b"hello")),
                (5, Bytes::from_static(b" world")),
            ],
            beside: Some((7, vec![[3; 32], [4; 32]])),
        }
    }

    #[test]
    fn what_is_written_reads_the_same_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (new, path) = (dir.path().join("new"), dir.path().join("a"));
        let count = object().write(&new, &path).unwrap();
        assert_eq!(
            (count, new.exists()),
            (std::fs::metadata(&path).unwrap().len(), false)
        );
        let read = Written::read(&path).unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", object()));
    }

    #[test]
    fn a_torn_or_changed_file_is_no_object_wherever_it_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (new, path) = (dir.path().join("new"), dir.path().join("a"));
        object().write(&new, &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Written::read(&path).unwrap().is_none(), "cut at {at}");
            let mut other = whole.clone();
            other[at] ^= 1;
            std::fs::write(&path, &other).unwrap();
            assert!(Written::read(&path).unwrap().is_none(), "changed at {at}");
        }
        std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(Written::read(&path).unwrap().is_none());
    }
}
