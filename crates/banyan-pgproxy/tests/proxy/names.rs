//! A server that is known by its name is followed to another address.

use crate::world::{World, one, pool};

/// Nobody is at the address that the name had; who has it now is asked, logins wait meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_elsewhere_is_followed() {
    let mut world = World::start_with(pool(2), |snapshot, _| {
        let node = &mut snapshot.database.nodes[0];
        node.name = Some("localhost".to_owned());
        node.address.set_ip([127, 0, 0, 2].into());
    })
    .await;
    let client = world.client().await;
    assert_eq!(one(&client, "SELECT 1").await, "1");
    // The controller does not know it yet.
    world.publish(|snapshot| snapshot.database.pool.size = 3).await;
    assert_eq!(one(&client, "SELECT 2").await, "2");
    assert_eq!(one(&world.client().await, "SELECT 3").await, "3");
}
