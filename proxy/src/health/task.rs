//! The timer.

use std::rc::Rc;

use tokio::time::Instant;

use crate::app::Main;

/// Sweeps clusters when their time has come. Never returns.
pub(crate) async fn run(main: Rc<Main>) {
    let changed = main.store.borrow().sweeps.changed();
    loop {
        let next = main.store.borrow().sweeps.next();
        match next {
            None => changed.notified().await,
            // Cancel safe: both only wait, and a notification that nobody waits for is kept.
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = changed.notified() => {}
            },
        }
        main.store.borrow_mut().sweeps.sweep(Instant::now());
    }
}
