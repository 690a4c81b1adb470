//! Several programs on one file, under load and undisturbed: two runs, redrives, purges, backups
//! and people who look. Nobody is killed; every promise is checked at the end.

use super::batch::{Batch, Broken, REDRIVE, RUN};
use super::beside::{Aside, Side};
use super::life::{End, Fate};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Rows of the second run, beside those of the first.
const OTHERS: u32 = 150;
/// What the second run is asked to do.
const OTHER_RUN: &[&str] =
    &["run", "others.csv", "--name", "others", "--out", super::batch::OTHER_ANSWERS];
/// What people look at meanwhile: at any store, and at one that is a file.
const LOOKS: [&[&str]; 2] = [&["list", "--json"], &["stats", "--json"]];
const LOOKS_AT_A_FILE: [&[&str]; 2] = [&["store", "info", "--json"], &["store", "check"]];

/// How often each thing was done while the runs went on.
#[derive(Debug, Default)]
pub(crate) struct Meanwhile {
    looks: AtomicU32,
    redrives: AtomicU32,
    sides: AtomicU32,
}

impl Meanwhile {
    /// True where each was done more than once.
    pub(crate) fn was_busy(&self) -> bool {
        [&self.looks, &self.redrives, &self.sides].iter().all(|n| n.load(Ordering::Relaxed) > 1)
    }
}

impl Batch<'_> {
    /// Works through a batch with everybody at once; what the checks find broken.
    pub(crate) fn work_together(mut self) -> Result<Meanwhile, Broken> {
        self.lay_out_others();
        // Begins the store: those who only look make none.
        let first = self.beside(Side::Purge, 0, &Fate::Finish);
        assert_eq!(first.end, End::Exit(0), "{}", first.words);
        let meanwhile = Meanwhile::default();
        let is_over = AtomicBool::new(false);
        let (batch, doing) = (&self, &meanwhile);
        let mut ended = std::thread::scope(|scope| {
            let second = scope.spawn(|| vec![batch.aside(OTHER_RUN, &Fate::Finish)]);
            let bystanders = [
                scope.spawn(|| batch.until(&is_over, |n| batch.look_on(n, doing))),
                scope.spawn(|| batch.until(&is_over, |_| batch.redrive_again(doing))),
                scope.spawn(|| batch.until(&is_over, |n| batch.purge_and_back_up(n, doing))),
            ];
            let mut ended = vec![batch.aside(RUN.command, &Fate::Finish)];
            ended.extend(second.join().expect("no panic"));
            is_over.store(true, Ordering::Relaxed);
            for bystander in bystanders {
                ended.extend(bystander.join().expect("no panic"));
            }
            ended
        });
        ended.extend([&REDRIVE, &RUN].map(|part| self.aside(part.command, &Fate::Finish)));
        ended.push(self.aside(&[OTHER_RUN, &["--resume"]].concat(), &Fate::Finish));
        let is_unwell = |aside: &&Aside| !matches!(aside.end, End::Exit(0 | 3 | 5));
        let unwell: Vec<_> = ended.iter().filter(is_unwell).map(|a| a.words.clone()).collect();
        if !unwell.is_empty() {
            return Err(unwell);
        }
        self.look(true).map(|_| meanwhile)
    }

    fn lay_out_others(&mut self) {
        let mut csv = "method,sitekey,pageurl\n".to_owned();
        for row in 0..OTHERS {
            let page = format!("https://others.test/{row}");
            writeln!(csv, "userrecaptcha,plain-site-key,{page}").expect("a String takes it");
            self.expect_page(page);
        }
        std::fs::write(self.dir().join("others.csv"), csv).expect("the folder takes a file");
    }

    /// Does it again and again until the runs are over; what did not end well.
    fn until(&self, is_over: &AtomicBool, mut act: impl FnMut(u32) -> Aside) -> Vec<Aside> {
        let mut unwell = Vec::new();
        for n in 1.. {
            if is_over.load(Ordering::Relaxed) || !unwell.is_empty() {
                break;
            }
            let aside = act(n);
            if !matches!(aside.end, End::Exit(0 | 3 | 5)) {
                unwell.push(aside);
            }
        }
        unwell
    }

    fn look_on(&self, n: u32, doing: &Meanwhile) -> Aside {
        doing.looks.fetch_add(1, Ordering::Relaxed);
        let of_files = LOOKS_AT_A_FILE.iter().filter(|_| self.place().is_file());
        let looks: Vec<_> = LOOKS.iter().chain(of_files).collect();
        let command = looks[n as usize % looks.len()];
        self.aside(command, &Fate::Finish)
    }

    fn redrive_again(&self, doing: &Meanwhile) -> Aside {
        doing.redrives.fetch_add(1, Ordering::Relaxed);
        self.aside(REDRIVE.command, &Fate::Finish)
    }

    fn purge_and_back_up(&self, n: u32, doing: &Meanwhile) -> Aside {
        doing.sides.fetch_add(1, Ordering::Relaxed);
        let side = if n.is_multiple_of(2) { Side::Backup } else { Side::Purge };
        let side = if side.fits(self.place()) { side } else { Side::Purge };
        self.beside(side, n, &Fate::Finish)
    }
}
