//! A long look at the store's file: on a thread of its own, with news, and ended by ctrl-C.

use crate::{
    app::App,
    fault::{Fault, Result},
    on_a_server,
    output::Bar,
    shelf::{self, Place},
    signals::Signals,
};
use deadletter::store::{
    Result as StoreResult,
    sqlite::inspect::{Inspection, Interrupter, Progress, Tolerance},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

/// The bar is drawn this often.
const TICK: Duration = Duration::from_millis(100);
/// Without a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// The file of the settings' store, which must stand.
pub(crate) fn file(app: &App) -> Result<PathBuf> {
    let settings = app.settings()?;
    let needs = || Fault::usage("this command needs an SQLite store");
    let path = match shelf::place(&settings)? {
        Place::File(path) => path,
        Place::Memory => {
            return Err(needs()
                .why("a store in memory is gone with its process")
                .fix("name one: --store sqlite:PATH"));
        }
        Place::Server => {
            return Err(needs()
                .why("it looks into the file itself, and a server keeps its own")
                .fix(on_a_server::own_tools(&settings.store)));
        }
    };
    shelf::refuse_missing_file(&settings)?;
    Ok(path.to_owned())
}

/// Runs `work` on the store's file; none where it was interrupted.
pub(crate) async fn look<T, W>(app: &App, tolerance: Tolerance, work: W) -> Result<Option<T>>
where
    T: Send + 'static,
    W: FnOnce(&mut Inspection, &Progress) -> StoreResult<T> + Send + 'static,
{
    let path = file(app)?;
    watch(app, move |progress, hand_over| {
        let mut inspection = Inspection::open(&path, tolerance)?;
        // Nobody waits for it where the command has ended.
        hand_over.send(inspection.interrupter()).ok();
        work(&mut inspection, progress)
    })
    .await
}

/// Runs `work` on a thread of its own, tells how far it is, and hands signals to whoever it names.
pub(crate) async fn watch<T, W>(app: &App, work: W) -> Result<Option<T>>
where
    T: Send + 'static,
    W: FnOnce(&Progress, oneshot::Sender<Interrupter>) -> StoreResult<T> + Send + 'static,
{
    let mut signals = Signals::listen()?;
    let (tell, news) = watch::channel(("", 0, 0));
    let progress: Progress = Arc::new(move |step, done, total| {
        tell.send_replace((step, done, total));
    });
    let (hand_over, handed) = oneshot::channel::<Interrupter>();
    // Ends by itself, or when it is interrupted below.
    let mut looking = tokio::task::spawn_blocking(move || work(&progress, hand_over));
    let mut telling = Telling { bar: app.out.bar(0), said: Instant::now(), news };
    let mut interrupter = Some(handed);
    let mut is_interrupted = false;
    // True where the work cannot be interrupted: its outcome is thrown away instead.
    let mut is_deaf = false;
    let looked = loop {
        tokio::select! {
            looked = &mut looking => break looked,
            () = tokio::time::sleep(TICK) => telling.draw(app),
            () = signals.next() => {
                is_interrupted = true;
                if let Some(handed) = interrupter.take() {
                    match handed.await {
                        Ok(interrupter) => interrupter.interrupt(),
                        Err(_) => is_deaf = true,
                    }
                }
            }
        }
    };
    telling.bar.clear();
    let looked = looked.map_err(|error| Fault::failed("the look broke off").because(error))?;
    match looked {
        // What was done before the signal reached it is done.
        Ok(value) if !is_deaf => Ok(Some(value)),
        _ if is_interrupted => {
            app.out.say("interrupted; nothing was changed");
            Ok(None)
        }
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(shelf::fault(error)),
    }
}

struct Telling {
    bar: Bar,
    said: Instant,
    news: watch::Receiver<(&'static str, u64, u64)>,
}

impl Telling {
    fn draw(&mut self, app: &App) {
        let (step, done, total) = *self.news.borrow();
        let as_size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.bar.set_total(as_size(total.max(done)));
        self.bar.draw(as_size(done), step);
        if self.bar.is_hidden() && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let of = if total > 0 { format!(" of {total}") } else { String::new() };
            app.out.say(&format!("{step}: {done}{of}"));
        }
    }
}
