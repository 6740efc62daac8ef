//! What the log is told by one thread, by a logger that may do whatever a test wants meanwhile.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, Once},
};

use log::{LevelFilter, Log, Metadata, Record};

type Heard = Arc<dyn Fn(String)>;

thread_local! {
    static LISTENER: RefCell<Option<Heard>> = const { RefCell::new(None) };
}

struct Dispatcher;

impl Log for Dispatcher {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Not borrowed while it is called: it may have more logged.
        let listener = LISTENER.with(|listener| listener.borrow().clone());
        if let Some(heard) = listener {
            heard(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Has this thread's lines told to `heard`, until what is returned is dropped.
pub(crate) fn listen(heard: impl Fn(String) + 'static) -> Listening {
    static SET: Once = Once::new();
    SET.call_once(|| {
        // No test has another logger.
        log::set_logger(&Dispatcher).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    LISTENER.with(|listener| *listener.borrow_mut() = Some(Arc::new(heard)));
    Listening(())
}

/// Lines of this thread are listened to.
pub(crate) struct Listening(());

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.with(|listener| *listener.borrow_mut() = None);
    }
}

/// The lines that `act` has this thread log.
pub(crate) fn lines_of(act: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let listening = {
        let lines = Arc::clone(&lines);
        listen(move |line| lines.lock().unwrap().push(line))
    };
    act();
    drop(listening);
    let lines = lines.lock().unwrap();
    lines.clone()
}
