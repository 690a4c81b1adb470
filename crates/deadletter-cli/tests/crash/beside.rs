//! What an operator does beside the work: a drain, a purge, a backup; each with a fate of its own.

use super::batch::{Batch, Broken};
use super::check::{regressions, violations_alone};
use super::life::{End, Fate};
use super::place::Place;
use std::fmt::Write as _;
use std::io::Write as _;

/// Site keys of letters that are imported to be purged. Nothing else touches them.
pub(crate) const SPARE: &str = "spare";
/// Letters of one import.
const SPARES: u32 = 5;
/// `purge` counts again before it deletes: another purge, brought back from the dead, was faster.
const MISCOUNTED: i32 = 2;

/// What is done beside the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Drain,
    Purge,
    Backup,
}

impl Side {
    pub(crate) const ALL: [Self; 3] = [Self::Drain, Self::Purge, Self::Backup];

    /// True where it can be done there: a server is backed up by its own means.
    pub(crate) const fn fits(self, place: &Place) -> bool {
        !matches!(self, Self::Backup) || place.is_file()
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Drain => "drains",
            Self::Purge => "purges",
            Self::Backup => "backups",
        }
    }
}

/// A page of a letter that may be purged.
pub(crate) fn is_spare(page: &str) -> bool {
    page.starts_with("https://spare.test/")
}

impl Batch<'_> {
    /// One life of a side job, while the work goes on; its number keeps its files apart.
    pub(crate) fn beside(&self, side: Side, number: u32, fate: &Fate) -> Aside {
        match side {
            Side::Drain => self.drain(fate),
            Side::Purge => self.purge(number, fate),
            Side::Backup => self.aside(&["store", "backup", &backup_name(number)], fate),
        }
    }

    /// Only a file's locks prove at once that a drain before it is dead: at a server it is waited for.
    fn drain(&self, fate: &Fate) -> Aside {
        let drain: &[&str] = &["drain", "--where", "state:dead -sitekey:spare*"];
        let wait: &[&str] = if self.place().is_file() { &[] } else { &["--wait"] };
        self.aside(&[drain, wait].concat(), fate)
    }

    pub(crate) fn aside(&self, arguments: &[&str], fate: &Fate) -> Aside {
        let (end, words) = self.program().live(arguments, fate).expect("the program starts");
        Aside { end, words }
    }

    fn purge(&self, number: u32, fate: &Fate) -> Aside {
        let file = format!("spare-{number}.json");
        std::fs::write(self.dir().join(&file), letters(number)).expect("the folder takes a file");
        let taken = self.aside(&["import", &file], &Fate::Finish);
        if taken.end != End::Exit(0) {
            return taken;
        }
        let count = self.block_on(self.place().read());
        let count = count.map_or(0, |ledger| ledger.spares()).to_string();
        let purge = ["purge", "--where", "sitekey:spare*", "--confirm", &count];
        match self.aside(&purge, fate) {
            Aside { end: End::Exit(MISCOUNTED), words } => Aside { end: End::Exit(0), words },
            aside => aside,
        }
    }

    /// A backup is whole or absent: what it holds is true, and the store goes on from there.
    pub(crate) fn look_at_backup(&mut self, number: u32, end: &End) -> Result<(), Broken> {
        let path = self.dir().join(backup_name(number));
        if !path.exists() {
            return match end {
                End::Exit(0) => Err(vec![format!("{} was not made", path.display())]),
                _ => Ok(()),
            };
        }
        let told = |error| vec![format!("{} cannot be read: {error}", path.display())];
        let ledger = self.block_on(Place::backup(&path).read()).map_err(told)?;
        let mut broken = violations_alone(&ledger);
        let now = self.block_on(self.place().read()).map_err(told)?;
        broken.extend(regressions(&ledger, &now));
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }
}

/// How a side job ended, and its last words.
pub(crate) struct Aside {
    pub(crate) end: End,
    pub(crate) words: String,
}

fn backup_name(number: u32) -> String {
    format!("backup-{number}.db")
}

/// A file as the article's program writes it.
fn letters(number: u32) -> Vec<u8> {
    let mut text = String::new();
    for row in 0..SPARES {
        let comma = if row == 0 { "" } else { ",\n" };
        write!(
            text,
            r#"{comma}{{"sitekey":"{SPARE}-{number}","pageurl":"https://spare.test/{number}/{row}","error":"ERROR_CAPTCHA_UNSOLVABLE","attempts":4,"timestamp":1790000000000}}"#
        )
        .expect("a String takes it");
    }
    let mut bytes = Vec::new();
    writeln!(bytes, "[{text}]").expect("a Vec takes it");
    bytes
}
