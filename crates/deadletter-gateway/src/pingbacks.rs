//! Where a key's tasks may be told: the URL that a submit names, and the register of its key.
//!
//! Without a register any URL is taken whose address may be posted to. A key that registers URLs
//! (`add_pingback`) binds itself to them: from then on its submits name one of them, or a path or
//! query below one. A key that leaks then sends its answers nowhere else.

use crate::{askers::Asker, gateway::Gateway, params::Params, wording::Word, words};
use deadletter::{Error, Form, Job, Result, document};
use url::Url;

/// The document of a key's register, by the name of the key; the account's own key has no name.
const PREFIX: &str = "gateway/pingbacks/";
/// URLs of one register: receivers, not tasks.
const URLS: usize = 100;

/// The job, told to `url`, if its key's register has it; whether anything may be posted there at all
/// is the engine's to say.
///
/// Errors: what the client is told where that cannot be.
pub(crate) async fn told_to(
    gateway: &Gateway,
    asker: &Asker,
    job: Job,
    url: &str,
    form: Form,
) -> Result<Job, Word> {
    let register = register(gateway, asker).await.map_err(|error| failed(gateway, &error))?;
    if !register.is_empty() && !register.iter().any(|registered| covers(registered, url)) {
        tracing::info!("a submit names a URL that its key has not registered");
        return Err(Word::error(words::BAD_PARAMETERS));
    }
    Ok(job.told_to(url, form))
}

/// `add_pingback` with the URL in `addr`.
pub(crate) async fn add(gateway: &Gateway, asker: &Asker, params: &Params) -> Word {
    let addr = params.text("addr").unwrap_or_default();
    let is_allowed = gateway.engine.guard().check(addr.trim()).is_ok();
    let Some(url) = registrable(addr.trim()).filter(|_| is_allowed) else {
        return Word::error(words::BAD_PARAMETERS);
    };
    let enter = |urls: &mut Vec<String>| {
        let is_new = !urls.contains(&url);
        let has_room = !is_new || urls.len() < URLS;
        if is_new && has_room {
            urls.push(url.clone());
        }
        has_room
    };
    match change(gateway, asker, enter).await {
        Ok(true) => Word::Bare(words::OK.to_owned()),
        Ok(false) => Word::error(words::BAD_PARAMETERS),
        Err(error) => failed(gateway, &error),
    }
}

/// `get_pingback`: the register, joined by bars.
pub(crate) async fn get(gateway: &Gateway, asker: &Asker) -> Word {
    match register(gateway, asker).await {
        Ok(urls) => Word::Listed(urls.join("|")),
        Err(error) => failed(gateway, &error),
    }
}

/// `del_pingback` with the URL in `addr`, or `all`.
pub(crate) async fn delete(gateway: &Gateway, asker: &Asker, params: &Params) -> Word {
    let addr = params.text("addr").unwrap_or_default();
    let addr = addr.trim();
    if addr.is_empty() {
        return Word::error(words::BAD_PARAMETERS);
    }
    let url = registrable(addr);
    let leave = |urls: &mut Vec<String>| {
        urls.retain(|known| addr != "all" && Some(known) != url.as_ref());
    };
    match change(gateway, asker, leave).await {
        Ok(()) => Word::Bare(words::OK.to_owned()),
        Err(error) => failed(gateway, &error),
    }
}

fn key(asker: &Asker) -> String {
    format!("{PREFIX}{}", asker.owner.as_deref().unwrap_or_default())
}

async fn register(gateway: &Gateway, asker: &Asker) -> Result<Vec<String>> {
    let read = document::read::<Vec<String>>(gateway.store(), &key(asker)).await?;
    Ok(read.map(|(_, urls)| urls).unwrap_or_default())
}

async fn change<T: Send>(
    gateway: &Gateway,
    asker: &Asker,
    act: impl Fn(&mut Vec<String>) -> T + Send + Sync,
) -> Result<T> {
    let changed = document::update(gateway.store(), &key(asker), &Vec::new(), act).await?;
    Ok(changed.answer)
}

fn failed(gateway: &Gateway, error: &Error) -> Word {
    gateway.engine.could_not("read a key's register of pingbacks", error);
    Word::error(words::STORE_FAILED)
}

/// What is kept of a URL: where it leads, and its path. A register is no place for secrets, so one
/// with a query, which may hold one, is not taken.
fn registrable(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    is_plain.then(|| url.to_string())
}

/// True where `url` leads to what is registered, or below its path.
fn covers(registered: &str, url: &str) -> bool {
    let (Ok(registered), Ok(url)) = (Url::parse(registered), Url::parse(url)) else { return false };
    let below = url.path().strip_prefix(registered.path());
    registered.origin() == url.origin()
        && below.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || registered.path().ends_with('/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_url_covers_what_lies_below_it_and_nothing_beside_it() {
        for (registered, url, is_covered) in [
            ("http://a.example/", "http://a.example", true),
            ("http://a.example/", "http://A.example:80/x/y?z=1", true),
            ("http://a.example/done", "http://a.example/done?id=1", true),
            ("http://a.example/done", "http://a.example/done/1", true),
            ("http://a.example/done/", "http://a.example/done/1", true),
            ("http://a.example/done", "http://a.example/done-not", false),
            ("http://a.example/done", "http://a.example/done/../other", false),
            ("http://a.example/done", "http://a.example/done/%2e%2e/other", false),
            ("http://a.example/", "https://a.example/", false),
            ("http://a.example/", "http://a.example:8080/", false),
            ("http://a.example/", "http://a.example.evil/", false),
            ("http://a.example/", "http://a.example@evil/", false),
        ] {
            assert_eq!(covers(registered, url), is_covered, "{registered} {url}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_not_registered() {
        assert_eq!(registrable("HTTP://A.example"), Some("http://a.example/".to_owned()));
        assert_eq!(registrable("http://a.example/?token=x"), None);
        assert_eq!(registrable("http://a.example/#x"), None);
        assert_eq!(registrable("all"), None);
    }
}
