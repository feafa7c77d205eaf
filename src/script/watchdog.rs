//! The backstop behind the instruction hook.
//!
//! The hook stops Lua, but it does not run inside the VM's own functions, and a pattern can keep
//! `string.find` busy for ever. Nothing inside the process can end that but the end of the
//! process: the host starts the script again and its clients are adopted.

use std::io::{self, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::engine::Site;

/// How often the watchdog looks, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What runs now, as another thread sees it.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Option<Call>>);

/// A call into the script; none begins at the same moment as another.
#[derive(Debug, Clone)]
struct Call {
    since: Instant,
    site: Site,
}

impl Running {
    pub(super) fn begin(&self, since: Instant, site: &Site) {
        self.set(Some(Call {
            since,
            site: site.clone(),
        }));
    }

    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, call: Option<Call>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }

    fn get(&self) -> Option<Call> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What the watchdog has seen at its last look.
///
/// It counts the processor's time, not the clock's: a call that waits for somebody to read what it
/// prints, or for its turn on a busy machine, is not stuck.
#[derive(Debug, Default)]
struct Watch(Option<(Instant, Duration)>);

impl Watch {
    /// Whether this call has used more than `most`, now that the process has used `used`.
    fn is_stuck(&mut self, call: Option<&Call>, used: Duration, most: Duration) -> bool {
        match (call, self.0) {
            (Some(call), Some((since, before))) if call.since == since => {
                used.saturating_sub(before) >= most
            }
            (call, _) => {
                self.0 = call.map(|call| (call.since, used));
                false
            }
        }
    }
}

/// Starts a thread that ends the process when a call goes on for much longer than `stop`, after
/// which the hook should have stopped it. It ends with what it watches. It runs when this returns.
pub(super) fn start(running: &Arc<Running>, stop: Duration, appl: &str) -> io::Result<()> {
    let running = Arc::downgrade(running);
    let appl = appl.to_owned();
    let (say, up) = mpsc::channel();
    let watching = move || {
        drop(say);
        let stuck = find(&running, stop);
        if let Some(site) = stuck {
            let _ = writeln!(
                io::stderr().lock(),
                "{appl}: error: {site} hangs in a function that cannot be stopped (a pattern?); \
                 the script's process is killed"
            );
            std::process::abort();
        }
    };
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(watching)?;
    // Whoever waits hears that nothing is said.
    let _: Result<(), _> = up.recv();
    Ok(())
}

/// Waits for a call that is stuck; none once there is nothing to watch.
fn find(running: &Weak<Running>, stop: Duration) -> Option<Site> {
    let mut watch = Watch::default();
    let (most, look) = (stop.saturating_mul(2), (stop / 2).clamp(LOOK.0, LOOK.1));
    loop {
        thread::sleep(look);
        let call = running.upgrade()?.get();
        let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        if watch.is_stuck(call.as_ref(), used, most) {
            return call.map(|call| call.site);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_call_that_goes_on_and_works_is_stuck() {
        let at = Instant::now();
        let call = |ms| Call {
            since: at + Duration::from_millis(ms),
            site: Site::Load,
        };
        let (first, second) = (call(0), call(1));
        let used = Duration::from_secs;
        let most = used(4);
        let mut watch = Watch::default();
        let mut look = |call: Option<&Call>, at| watch.is_stuck(call, used(at), most);
        assert!(!look(Some(&first), 10));
        // It waits, however long.
        assert!(!look(Some(&first), 10));
        assert!(!look(Some(&first), 13));
        // Many calls may use more.
        assert!(!look(Some(&second), 20));
        assert!(!look(Some(&second), 23));
        assert!(!look(None, 30));
        assert!(!look(Some(&second), 40));
        assert!(look(Some(&second), 44));
    }
}
