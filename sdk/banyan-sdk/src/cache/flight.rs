//! Loads of this process that hold a lease: who finds the key busy waits for their end instead of asking Redis again and again.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::watch;

#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<String, watch::Receiver<()>>>);

/// In flight until dropped.
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    key: &'f str,
    _end: watch::Sender<()>,
}

impl Flights {
    pub(super) fn begin<'f>(&'f self, key: &'f str) -> Flight<'f> {
        let (end, waits) = watch::channel(());
        let mut flights = self.0.lock().expect("no holder of this lock panics");
        flights.insert(key.to_owned(), waits);
        Flight {
            flights: self,
            key,
            _end: end,
        }
    }

    /// Whether there was one to wait for.
    pub(super) async fn ended(&self, key: &str) -> bool {
        let waits = {
            let flights = self.0.lock().expect("no holder of this lock panics");
            flights.get(key).cloned()
        };
        match waits {
            // Nothing is ever sent: the error is the sender's end.
            Some(mut waits) => {
                waits.changed().await.ok();
                true
            }
            None => false,
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().expect("no holder of this lock panics");
        flights.remove(self.key);
    }
}
