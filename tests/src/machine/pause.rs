//! Stopping a call of the service in the middle, with whatever locks it holds, as an interrupt does.

use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use super::frames::lock;

/// How long a call is held up at most: who needs a lock that it holds would wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place where one call can be held up.
#[derive(Debug, Default)]
pub(crate) struct PausePoint(Mutex<Option<(Sender<()>, Receiver<()>)>>);

/// The next call that comes by is held up until this is dropped.
#[derive(Debug)]
pub struct Pause {
    arrived: Receiver<()>,
    /// Closed when it goes.
    _go_on: Sender<()>,
}

impl PausePoint {
    pub(crate) fn arm(&self) -> Pause {
        let (arrives, arrived) = channel();
        let (go_on, goes_on) = channel();
        *lock(&self.0) = Some((arrives, goes_on));
        Pause { arrived, _go_on: go_on }
    }

    /// Waits here if somebody asked for it.
    pub(crate) fn pass(&self) {
        let Some((arrives, goes_on)) = lock(&self.0).take() else { return };
        let _ = arrives.send(());
        let _ = goes_on.recv_timeout(PATIENCE);
    }
}

impl Pause {
    /// Waits until a call is held up.
    ///
    /// # Panics
    /// If none comes by for long.
    pub fn wait(&self) {
        self.arrived.recv_timeout(PATIENCE).expect("a call comes by");
    }
}
