//! Hold: new units wait, running ones finish, the primary changes, then the waiting ones go on in their order.
