//! The first reading of a file: what is wrong with it is known before the first letter is written.

use super::{Args, twice::Twice};
use crate::{
    fault::{Fault, Result},
    input::{Format, Reject, Rejects},
    letter::{Incoming, REQUEST_LOST, Reader, Restorer, Spoiled, Tear},
};
use deadletter::{core::UnixMs, provider::clean::Cleaner};
use serde_json::Value;
use std::{collections::HashSet, path::Path};

/// What a file came to.
#[derive(Debug)]
pub(super) struct Checked {
    /// Letters that can be imported.
    pub(super) letters: u64,
    /// Letters whose request was lost, and that are left out.
    pub(super) without_request: u64,
    /// Where it is torn.
    pub(super) tear: Option<Tear>,
    /// What was put aside.
    pub(super) rejected: u64,
    /// When the letters of an article's file died.
    pub(super) died_at: HashSet<UnixMs>,
}

/// Reads the whole file, and puts aside what is no letter where somebody asked for that.
pub(super) fn check(
    args: &Args,
    name: &str,
    twice: &Twice,
    restorer: &Restorer<'_>,
) -> Result<Checked> {
    if let Some(rejects) = &args.rejects {
        refuse_same(rejects, &args.file.to_string())?;
    }
    let mut rejects = args.rejects.clone().map(|path| {
        Rejects::new(Some(path), args.file.clone(), Format::JsonLines, None).dry(args.dry_run)
    });
    let mut died_at = HashSet::new();
    let mut without_request = 0;
    let mut take = |incoming| {
        if let Incoming::Article(entry) = incoming {
            died_at.insert(entry.died_at);
        }
        Ok(())
    };
    let cleaner = restorer.cleaner;
    let refuse = |incoming: &Incoming| restorer.refuse(incoming);
    let mut spoiled = |spoiled: Spoiled| match &mut rejects {
        Some(rejects) => rejects.put(&reject(spoiled, cleaner)),
        // It is whole, and tells what was spent; a file is not refused for it.
        None if spoiled.why == REQUEST_LOST => {
            without_request += 1;
            Ok(())
        }
        None => Err(spoiled.fault(name)),
    };
    let mut reader = Reader { name, refuse: &refuse, take: &mut take, spoiled: &mut spoiled };
    let whole = reader.read(twice.open(&args.file)?)?;
    if let (Some(rejects), Some(tear)) = (&mut rejects, &whole.tear) {
        let why = format!("the file is torn here: {}", tear.what);
        let nth = whole.letters + rejects.count + 1;
        let left = Spoiled { line: tear.line, nth, why, text: tear.text.clone() };
        rejects.put(&reject(left, cleaner))?;
    }
    if let Some(rejects) = &mut rejects {
        rejects.keep()?;
    }
    let rejected = rejects.map_or(0, |rejects| rejects.count);
    let letters = whole.letters;
    Ok(Checked { letters, without_request, tear: whole.tear, rejected, died_at })
}

/// The rejects would be written over what they come from.
fn refuse_same(rejects: &Path, file: &str) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if real(rejects).is_some_and(|path| Some(path) == real(Path::new(file))) {
        return Err(Fault::usage("--rejects names the file that is imported")
            .fix("name another file for what is no letter"));
    }
    Ok(())
}

/// An error text of the article's may hold the key; so may anything else where the key is known.
fn reject(spoiled: Spoiled, cleaner: &Cleaner) -> Reject {
    let Spoiled { line, nth, why, text } = spoiled;
    let fields = match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    let fields = fields.map(|fields| {
        let clean = |(name, value): (String, Value)| {
            let shown = value.to_string();
            let is_kept = name != "error" && !cleaner.finds_in(&shown);
            let text = value.as_str().map(str::to_owned);
            let value = if is_kept { value } else { cleaner.clean(&text.unwrap_or(shown)).into() };
            (name, value)
        };
        fields.into_iter().map(clean).collect()
    });
    Reject { line, row: nth, reason: why, text: cleaner.clean(&text), fields }
}
