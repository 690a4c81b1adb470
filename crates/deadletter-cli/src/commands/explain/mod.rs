//! `deadletter explain`: what a code, a class or a reason means, what is done, what to do.

mod course;
mod page;
mod words;

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    render,
};
use course::Rules;
use deadletter::core::Terms;
use page::{Kind, Page};
use serde_json::json;

/// Names that a word which nobody knows may have meant.
const NEAREST: usize = 3;
/// Below this, suggestions are noise.
const LIKENESS: f64 = 0.8;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter explain ERROR_ZERO_BALANCE\n  deadletter explain TIMEOUT attempts_exhausted\n  deadletter explain permanent --json",
    after_help = "What is done is told by the rules themselves, with the policy of your configuration. Without a word it lists all: codes of upstream's, causes of our own, classes, reasons of death."
)]
pub(crate) struct Args {
    /// A code, a class, or why a task is dead
    #[arg(value_name = "CODE")]
    words: Vec<String>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<Exit> {
    let settings = app.settings()?;
    let terms = Terms::default();
    // One proxy, as most tasks that have one: the next is taken where there is one.
    let rules = Rules { policy: &settings.policy, terms: &terms, proxies: 1 };
    let pages = page::all(&rules, &settings.codes);
    if args.words.is_empty() {
        return list(app, &pages);
    }
    let mut end = Exit::Good;
    for word in &args.words {
        let found: Vec<&Page> = pages.iter().filter(|page| is_meant(page, word)).collect();
        for page in &found {
            if app.out.is_table() {
                app.out.picture(&picture(page, app.out.width))?;
            } else {
                app.out.json(&page.json())?;
            }
        }
        if found.is_empty() {
            unknown(app, word, &pages)?;
            end = Exit::Failed;
        }
    }
    Ok(end)
}

fn is_meant(page: &Page, word: &str) -> bool {
    let normal = |text: &str| {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.map(|c| c.to_ascii_uppercase()).collect::<String>()
    };
    !normal(word).is_empty() && normal(&page.word) == normal(word)
}

/// A word of which no table tells: what is done with such a code all the same, and how to tell it.
fn unknown(app: &App, word: &str, pages: &[Page]) -> Result<()> {
    let near = nearest(word, pages);
    if !app.out.is_table() {
        app.out.json(&json!({"word": word, "kind": "unknown", "nearest": near}))?;
    }
    let code: String = deadletter::core::Cause::new(word).to_string();
    let meant =
        if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(", ")) };
    app.out.fault(
        &Fault::failed(format!("no table knows {code}"))
            .why("a code that no table knows is never retried blindly: the task dies of it at once")
            .fix(format!(
                "{meant}If it is a new code of your upstream's, name its class in deadletter.toml: \
                 [codes] {code} = \"transient\" (`deadletter explain` lists the classes)"
            )),
    );
    Ok(())
}

fn nearest(word: &str, pages: &[Page]) -> Vec<String> {
    let upper = word.to_ascii_uppercase();
    let likeness = |page: &Page| strsim::jaro_winkler(&upper, &page.word.to_ascii_uppercase());
    let mut near: Vec<_> = pages.iter().map(|page| (likeness(page), &page.word)).collect();
    near.retain(|(likeness, _)| *likeness > LIKENESS);
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().take(NEAREST).map(|(_, word)| word.clone()).collect()
}

fn picture(page: &Page, width: usize) -> String {
    let class = match (page.kind, page.class) {
        (Kind::Code, Some(class)) => format!(" ({class})"),
        (Kind::Code, None) => String::new(),
        (kind, _) => format!(" ({})", kind.label()),
    };
    let mut rows = vec![["meaning".to_owned(), page.meaning.clone()]];
    rows.extend(page.done.iter().map(|(when, what)| [(*when).to_owned(), what.clone()]));
    rows.push(["what to do".to_owned(), page.advice.clone()]);
    let codes = (!page.codes.is_empty()).then(|| ["codes".to_owned(), page.codes.join(" ")]);
    rows.extend(codes);
    format!("{}{class}\n{}\n", page.word, render::definitions(&rows, width))
}

fn list(app: &App, pages: &[Page]) -> Result<Exit> {
    if !app.out.is_table() {
        for page in pages {
            app.out.json(&page.json())?;
        }
        return Ok(Exit::Good);
    }
    for (kind, title) in [
        (Kind::Code, "codes"),
        (Kind::Class, "classes: what a code means for the task"),
        (Kind::Reason, "reasons: why a task is dead or buried"),
    ] {
        let chosen = pages.iter().filter(|page| page.kind == kind);
        let rows = chosen.map(|page| {
            let class = page.class.map_or("-", |class| class.label());
            let class = if kind == Kind::Code { class } else { "" };
            [page.word.clone(), class.to_owned(), page.meaning.clone()]
        });
        let rows: Vec<_> = rows.collect();
        app.out.picture(&format!("{title}\n{}\n", render::aligned(&rows)))?;
    }
    app.out.say("deadletter explain WORD tells what is done, and what to do");
    Ok(Exit::Good)
}

/// Says, to whoever reads a table, where to read on about a cause.
pub(super) fn hint(app: &App, cause: Option<&str>) {
    if let Some(cause) = cause.filter(|_| app.out.is_table()) {
        app.out.say(&format!("what it means, and what to do: deadletter explain {cause}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::{
        core::{Class, DeadReason, OnDoubt, Policy},
        provider::captchaai::codes,
    };
    use std::collections::BTreeMap;

    /// Every code that the protocol's description names, by hand: its table of errors, the report
    /// calls and HTTP statuses, and the causes of our own.
    const DESCRIBED: &str = "ERROR_WRONG_USER_KEY ERROR_KEY_DOES_NOT_EXIST ERROR_IP_NOT_ALLOWED
        ERROR_ACCOUNT_SUSPENDED IP_BANNED ERROR_IP_BANNED ERROR_ZERO_BALANCE ERROR_NO_SLOT_AVAILABLE
        MAX_USER_TURN ERROR_TOO_MUCH_REQUESTS HTTP_429 HTTP_413 ERROR_PAGEURL ERROR_GOOGLEKEY
        ERROR_WRONG_GOOGLEKEY ERROR_SITEKEY ERROR_BAD_TOKEN_OR_PAGEURL ERROR_BAD_PARAMETERS
        ERROR_ZERO_CAPTCHA_FILESIZE ERROR_TOO_BIG_CAPTCHA_FILESIZE ERROR_IMAGE_DIMENSIONS_TOO_LARGE
        ERROR_WRONG_FILE_EXTENSION ERROR_IMAGE_TYPE_NOT_SUPPORTED ERROR_UPLOAD ERROR_EMPTY_CAPTCHA
        ERROR_CAPTCHAIMAGE_BLOCKED ERROR_DOMAIN_NOT_ALLOWED ERROR_PROXY_FORMAT ERROR_BAD_PROXY
        ERROR_PROXY_CONNECTION_FAILED ERROR_SERVER_ERROR ERROR_INTERNAL_SERVER_ERROR
        CAPCHA_NOT_READY CAPTCHA_NOT_READY ERROR_CAPTCHA_UNSOLVABLE ERROR_BAD_DUPLICATES
        ERROR_WRONG_CAPTCHA_ID ERROR_NO_SUCH_CAPCHA_ID ERROR_TOKEN_EXPIRED ERROR_WRONG_ID_FORMAT
        ERROR_EMPTY_ACTION ERROR:1001 ERROR:1002 ERROR:1003 ERROR:1004 ERROR:1005
        OK_REPORT_RECORDED ERROR_REPORT_NOT_RECORDED ERROR_DUPLICATE_REPORT
        TIMEOUT NETWORK UNREADABLE DEADLINE PANIC WORKER_DIED OUTRUN CANCELLED UNWRITTEN UNKNOWN";

    fn pages(users: &[(&str, Class)]) -> Vec<Page> {
        let users: BTreeMap<String, Class> =
            users.iter().map(|(code, class)| ((*code).to_owned(), *class)).collect();
        let (policy, terms) = (Policy::default(), Terms::default());
        page::all(&Rules { policy: &policy, terms: &terms, proxies: 1 }, &users)
    }

    #[test]
    fn every_code_class_and_reason_is_explained_whole() {
        let pages = pages(&[]);
        let labels = Class::ALL.iter().map(|class| class.label());
        let labels = labels.chain(DeadReason::ALL.iter().map(|reason| reason.label()));
        let table = codes::all().iter().map(|code| code.code);
        for word in table.chain(DESCRIBED.split_whitespace()).chain(labels) {
            let found: Vec<_> = pages.iter().filter(|page| is_meant(page, word)).collect();
            assert!(!found.is_empty(), "{word} is not explained");
            for page in found {
                let told = page.done.iter().map(|(_, what)| what.as_str());
                for text in told.chain([page.meaning.as_str(), &page.advice]) {
                    assert!(text.ends_with('.'), "{word}: {text:?}");
                }
                assert!(!page.done.is_empty(), "{word}: what is done?");
            }
        }
    }

    #[test]
    fn a_reason_names_the_codes_that_lead_to_it() {
        let pages = pages(&[]);
        let codes = |word: &str| {
            let page = pages.iter().find(|it| it.kind == Kind::Reason && it.word == word);
            page.expect("a reason").codes.clone()
        };
        assert!(codes("permanent").contains(&"ERROR_PAGEURL".to_owned()));
        assert!(codes("attempts_exhausted").contains(&"TIMEOUT".to_owned()));
        assert!(codes("upstream_lost").contains(&"ERROR_WRONG_CAPTCHA_ID".to_owned()));
        assert_eq!(codes("deadline"), ["DEADLINE"]);
        assert!(codes("panicked").contains(&"PANIC".to_owned()));
    }

    #[test]
    fn what_is_told_of_doubt_is_of_the_policy_that_is_set() {
        for (on_doubt, told) in [
            (
                OnDoubt::Resubmit,
                "is \"resubmit\": what is in doubt now is submitted again by itself",
            ),
            (OnDoubt::DeadLetter, "is \"dead_letter\", which leaves that to you"),
        ] {
            let policy = Policy { on_doubt, ..Policy::default() };
            let rules = Rules { policy: &policy, terms: &Terms::default(), proxies: 1 };
            let pages = page::all(&rules, &BTreeMap::new());
            let page = pages.iter().find(|page| page.word == "in_doubt").expect("explained");
            assert!(page.advice.contains(told), "{}", page.advice);
        }
    }

    #[test]
    fn the_users_codes_are_told_as_they_are_set() {
        let pages = pages(&[("ERROR_NEW", Class::Unsolvable), ("error_pageurl", Class::Transient)]);
        let told = |word: &str| {
            let page = pages.iter().find(|page| is_meant(page, word)).expect("explained");
            page.done.first().expect("something is done").1.clone()
        };
        assert!(told("error_new").contains("at once, up to 2 times"), "{}", told("error_new"));
        assert!(told("ERROR_PAGEURL").contains("up to 3 times"), "{}", told("ERROR_PAGEURL"));
    }

    #[test]
    fn a_slip_finds_what_was_meant() {
        let near = nearest("ERROR_CAPCHA_UNSOLVABLE", &pages(&[]));
        assert_eq!(near.first().map(String::as_str), Some("ERROR_CAPTCHA_UNSOLVABLE"));
        assert!(nearest("xyz", &pages(&[])).is_empty());
        assert!(pages(&[]).iter().any(|page| is_meant(page, "error: 1001")));
    }
}
