//! Loads that wait at the same time share a statement, which begins after all of them were asked for: as right as one for each, and
//! many histories fit into a test.

use tokio::sync::{mpsc, oneshot};

use super::*;

/// Statements at once.
const LOADERS: usize = 8;
const TOGETHER: usize = 64;

type Answer = Result<Option<i64>, sqlx::Error>;
type Asked = (i64, oneshot::Sender<Answer>);

pub(super) struct Loader {
    asked: Vec<mpsc::UnboundedSender<Asked>>,
}

impl Loader {
    pub(super) fn start(database: &Database) -> Self {
        let loaders = (0..LOADERS).map(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            drop(start(answer(database.clone(), receiver)));
            sender
        });
        Self {
            asked: loaders.collect(),
        }
    }

    pub(super) async fn load(&self, item: usize) -> Answer {
        let (sender, answer) = oneshot::channel();
        let asked = (i64::try_from(item).unwrap(), sender);
        self.asked[item % LOADERS].send(asked).unwrap();
        answer.await.expect("a loader answers")
    }
}

/// Until the world is gone.
async fn answer(database: Database, mut asked: mpsc::UnboundedReceiver<Asked>) {
    let statement = format!("{PRIMARY} select id, version from item where id = any($1)");
    let mut together = Vec::new();
    while asked.recv_many(&mut together, TOGETHER).await > 0 {
        let wanted: Vec<i64> = together.iter().map(|(item, _)| *item).collect();
        let found = sqlx::query_as(&statement)
            .bind(&wanted)
            .fetch_all(database.pool())
            .await;
        let mut found: Result<HashMap<i64, i64>, _> =
            found.map(|rows: Vec<(i64, i64)>| rows.into_iter().collect());
        for (item, sender) in together.drain(..) {
            let one = match &mut found {
                Ok(versions) => Ok(versions.get(&item).copied()),
                Err(error) => Err(std::mem::replace(error, sqlx::Error::WorkerCrashed)),
            };
            // Who asked may be gone by now.
            sender.send(one).ok();
        }
    }
}
