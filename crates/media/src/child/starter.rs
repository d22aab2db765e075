//! The thread that starts children.
//!
//! The kernel's "die with your parent" means the parent's *thread*: a child started by a thread of a pool would die
//! when the pool shrinks. So one thread, which lives as long as the process, starts them all.

use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

struct Order {
    command: Command,
    started: mpsc::SyncSender<io::Result<Child>>,
}

static ORDERS: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);

/// Starts `command` as a child of a thread that never ends.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (started, child) = mpsc::sync_channel(1);
    orders()?
        .send(Order { command, started })
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?;
    child
        .recv()
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?
}

fn orders() -> io::Result<mpsc::Sender<Order>> {
    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*orders {
        return Ok(sender.clone());
    }
    let (sender, receiver) = mpsc::channel::<Order>();
    thread::Builder::new()
        .name("child-starter".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            for mut order in receiver {
                let unheard = order.started.send(order.command.spawn());
                // Whoever ordered it is gone: nobody else would end it.
                if let Err(mpsc::SendError(Ok(mut child))) = unheard {
                    let _gone = child.kill().and_then(|()| child.wait());
                }
            }
        })?;
    Ok(orders.insert(sender).clone())
}
