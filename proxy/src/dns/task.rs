//! The loop of look-ups.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::resolver::{Resolver, look_up};
use crate::app::Main;

/// Look-ups at a time: a server is not to be flooded by a proxy that starts with thousands of names.
const LOOKUPS_MAX: usize = 32;

/// Looks names up when their time has come. Never returns.
pub(crate) async fn run(main: Rc<Main>, server: Option<SocketAddr>) {
    let mut resolver = Resolver::new(server);
    let changed = main.store.borrow().names.changed();
    let mut rng = fastrand::Rng::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < LOOKUPS_MAX {
            let question = main.store.borrow_mut().names.ask(Instant::now());
            let Some(question) = question else { break };
            let resolver = resolver.of(question.family);
            under_way.push(async move {
                let looked = look_up(resolver, &question.host).await;
                (question, looked)
            });
        }
        let next = main.store.borrow().names.next();
        let next = next.filter(|_| under_way.len() < LOOKUPS_MAX);
        // Cancel safe: what is under way stays in its set, the others only wait.
        tokio::select! {
            Some((question, looked)) = under_way.next(), if !under_way.is_empty() => {
                main.store.borrow_mut().names.answer(&question, looked, rng.u64(..));
            }
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = changed.notified() => {}
        }
    }
}
