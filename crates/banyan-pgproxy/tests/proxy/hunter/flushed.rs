//! What drivers do that pipeline by Flush: between it and the Sync a client thinks, and others have the proxy.

use std::collections::BTreeSet;
use std::sync::Mutex;

use rand::RngExt as _;

use super::{Expect, Hunter, WHO};
use crate::raw::{Message, describe, execute, message, parse, run, sync};
use crate::world::World;

/// What was inserted and synced, and what must not be there: its client left, or failed, before its Sync.
#[derive(Default)]
pub(super) struct Ledger {
    kept: Mutex<BTreeSet<String>>,
    last: Mutex<Option<String>>,
    gone: Mutex<BTreeSet<String>>,
}

impl Ledger {
    pub(super) fn note(&self, is_kept: bool, nonce: String) {
        if is_kept {
            *self.last.lock().unwrap() = Some(nonce.clone());
        }
        let list = if is_kept { &self.kept } else { &self.gone };
        list.lock().unwrap().insert(nonce);
    }

    pub(super) fn last_kept(&self) -> Option<String> {
        self.last.lock().unwrap().clone()
    }

    /// What the table has is what was acknowledged, nothing else.
    pub(super) async fn is_true(&self, world: &World) {
        let rows = world
            .client()
            .await
            .query("SELECT nonce FROM flushed", &[])
            .await
            .unwrap();
        let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows.len(), found.len(), "a row is there twice");
        let (kept, gone) = (self.kept.lock().unwrap(), self.gone.lock().unwrap());
        let lost: Vec<_> = kept.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        let phantoms: Vec<_> = found.difference(&kept).collect();
        assert!(phantoms.is_empty(), "there and not acknowledged: {phantoms:?}");
        assert!(!kept.is_empty() && !gone.is_empty(), "nobody thought between");
    }
}

impl Hunter {
    pub(super) async fn flushed(&mut self) {
        match self.random.random_range(0..4) {
            0 => self.prepare_and_think().await,
            1 => self.fetch_by_parts().await,
            _ => self.insert_and_think().await,
        }
    }

    async fn send_flushed(&mut self, mut out: Vec<u8>, last: u8) -> Vec<Message> {
        message(&mut out, b'H', &[]);
        self.raw.send(&out).await.unwrap();
        let mut found = Vec::new();
        while found.last().is_none_or(|one: &Message| one.tag != last) {
            found.push(self.raw.next().await.unwrap());
            let one = found.last().unwrap();
            assert_ne!(one.tag, b'E', "client {}: {}", self.number, one.code());
        }
        self.think().await;
        found
    }

    async fn think(&mut self) {
        match self.random.random_range(0..3) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
        }
    }

    /// As asyncpg and postgres.js: described first, run when its parameters are known.
    async fn prepare_and_think(&mut self) {
        let nonce = self.nonce();
        let mut out = Vec::new();
        parse(&mut out, "", &format!("SELECT $1, {WHO}"));
        describe(&mut out, "");
        self.send_flushed(out, b'T').await;
        let mut out = Vec::new();
        run(&mut out, "", &[&nonce]);
        sync(&mut out);
        self.raw.send(&out).await.unwrap();
        let found = self.raw.unit().await.unwrap();
        self.judge(&found, &Expect::Row(self.row(&nonce)));
    }

    /// A portal gives some rows at a time.
    async fn fetch_by_parts(&mut self) {
        let nonce = self.nonce();
        let mut out = Vec::new();
        parse(
            &mut out,
            "",
            &format!("SELECT $1 || n, {WHO} FROM generate_series(1, 3) n"),
        );
        run(&mut out, "", &[&nonce]);
        // All but the last Execute ask for one row.
        out.truncate(out.len() - 4);
        out.extend(1_u32.to_be_bytes());
        let mut found = self.send_flushed(out, b's').await;
        for _ in 0..2 {
            let mut out = Vec::new();
            execute(&mut out, 1);
            found.extend(self.send_flushed(out, b's').await);
        }
        let mut out = Vec::new();
        sync(&mut out);
        self.raw.send(&out).await.unwrap();
        found.extend(self.raw.unit().await.unwrap());
        let rows = (1..=3).map(|n| self.row(&format!("{nonce}{n}"))).collect();
        self.judge(&found, &Expect::Rows(rows));
    }

    /// It counts only once it is synced.
    async fn insert_and_think(&mut self) {
        let nonce = self.nonce();
        let mut out = Vec::new();
        parse(&mut out, "", "INSERT INTO flushed VALUES ($1)");
        run(&mut out, "", &[&nonce]);
        self.send_flushed(out, b'C').await;
        let mut out = Vec::new();
        match self.random.random_range(0..4) {
            0 => {
                self.ledger.note(false, nonce);
                self.reconnect().await;
                return;
            }
            1 => {
                run(&mut out, "nowhere", &[]);
                sync(&mut out);
                self.raw.send(&out).await.unwrap();
                let found = self.raw.unit().await.unwrap();
                self.judge(&found, &Expect::Error("26000"));
                self.ledger.note(false, nonce);
                return;
            }
            _ => sync(&mut out),
        }
        self.raw.send(&out).await.unwrap();
        let found = self.raw.unit().await.unwrap();
        self.judge(&found, &Expect::Rows(Vec::new()));
        self.ledger.note(true, nonce);
    }
}
