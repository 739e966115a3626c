//! Writes of other kinds, and whether what was acknowledged is read by whoever asks next: COPY in pipelines, transactions that begin behind a
//! write of their unit, function calls.

use rand::RngExt as _;

use super::{Expect, Hunter, is_error};
use crate::raw::{Message, message, parse, query, run, sync};

/// reverse(text)
const REVERSE: u32 = 3062;

impl Hunter {
    pub(super) async fn written(&mut self) {
        match self.random.random_range(0..5) {
            0 => self.copied().await,
            1 => self.begun_behind_a_write().await,
            2 => self.called().await,
            _ => self.read_what_is_acknowledged().await,
        }
    }

    async fn answers(&mut self, out: &[u8], units: usize) -> Vec<Vec<Message>> {
        self.raw.send(out).await.unwrap();
        let mut found = Vec::new();
        for _ in 0..units {
            found.push(self.raw.unit().await.unwrap());
        }
        found
    }

    /// All of it is sent before the server asks for the data.
    async fn copied(&mut self) {
        let (nonce, next) = (self.nonce(), self.nonce());
        let (extended, fails) = (self.random.random(), self.random.random_range(0..3) == 0);
        let mut out = Vec::new();
        if extended {
            parse(&mut out, "", "COPY flushed FROM STDIN");
            run(&mut out, "", &[]);
        } else {
            query(&mut out, "COPY flushed FROM STDIN");
        }
        message(&mut out, b'd', format!("{nonce}\n").as_bytes());
        match fails {
            true => message(&mut out, b'f', b"no more\0"),
            false => message(&mut out, b'c', &[]),
        }
        if extended {
            sync(&mut out);
        }
        query(&mut out, &format!("SELECT '{next}'"));
        let found = self.answers(&out, 2).await;
        assert_eq!(is_error(&found[0]), fails, "{:?}", found[0]);
        self.judge(&found[1], &Expect::Row(vec![next]));
        self.ledger.note(!fails, nonce);
    }

    /// As psycopg's pipelines send it: the write is part of the transaction.
    async fn begun_behind_a_write(&mut self) {
        let (first, second) = (self.nonce(), self.nonce());
        let kept = self.random.random();
        let mut out = Vec::new();
        parse(&mut out, "", "INSERT INTO flushed VALUES ($1)");
        run(&mut out, "", &[&first]);
        parse(&mut out, "", "BEGIN");
        run(&mut out, "", &[]);
        sync(&mut out);
        query(&mut out, &format!("INSERT INTO flushed VALUES ('{second}')"));
        query(&mut out, if kept { "COMMIT" } else { "ROLLBACK" });
        for found in self.answers(&out, 3).await {
            self.judge(&found, &Expect::Rows(Vec::new()));
        }
        self.ledger.note(kept, first);
        self.ledger.note(kept, second);
    }

    async fn called(&mut self) {
        let nonce = format!("call {}", self.nonce());
        let mut body = REVERSE.to_be_bytes().to_vec();
        body.extend([0, 0, 0, 1]);
        body.extend(u32::try_from(nonce.len()).unwrap().to_be_bytes());
        body.extend(nonce.as_bytes());
        body.extend([0, 0]);
        let mut out = Vec::new();
        message(&mut out, b'F', &body);
        let found = self.answers(&out, 1).await;
        let value = found[0]
            .iter()
            .find(|m| m.tag == b'V')
            .map(|m| m.body[4..].to_vec());
        assert_eq!(value, Some(nonce.bytes().rev().collect()), "{:?}", found[0]);
        self.judge(&[], &Expect::Rows(Vec::new()));
    }

    /// Whoever wrote it, on whichever server this runs.
    async fn read_what_is_acknowledged(&mut self) {
        let Some(nonce) = self.ledger.last_kept() else {
            return;
        };
        let sql = format!("SELECT nonce FROM flushed WHERE nonce = '{nonce}'");
        let found = self.plain(&sql).await;
        self.judge(&found, &Expect::Row(vec![nonce]));
    }
}
