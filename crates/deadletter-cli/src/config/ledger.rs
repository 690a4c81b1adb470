//! Where the submits to a Redis store are noted: in the folder of our data, unless its URL says.

use super::environment::Environment;
use deadletter::store::redis::is_redis;
use form_urlencoded::byte_serialize;

/// The parameter that adds the folder for its submits to a store's URL; none where it names one, where
/// there is no such folder, and for stores that lose nothing.
pub(crate) fn parameter(environment: &Environment, url: &str) -> Option<String> {
    let (_, parameters) = url.split_once('?').unwrap_or_default();
    if !is_redis(url) || parameters.split('&').any(|it| it.starts_with("ledger=")) {
        return None;
    }
    let folder = environment.data_dir()?.join("submits");
    let folder: String = byte_serialize(folder.to_str()?.as_bytes()).collect();
    Some(format!("ledger={folder}"))
}

/// A URL with that parameter.
pub(crate) fn complete(url: &str, parameter: Option<&str>) -> String {
    let Some(parameter) = parameter else { return url.to_owned() };
    let url = url.trim_end_matches('?');
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_store_has_its_submits_noted_in_the_folder_of_our_data_unless_it_says_where() {
        let home = Environment::of(&[("HOME", "/home/a b")], "/");
        let of = |url: &str| complete(url, parameter(&home, url).as_deref());
        let folder = "ledger=%2Fhome%2Fa+b%2F.local%2Fshare%2Fdeadletter%2Fsubmits";
        assert_eq!(of("redis://h"), format!("redis://h?{folder}"));
        assert_eq!(of("rediss://h?prefix=p"), format!("rediss://h?prefix=p&{folder}"));
        for url in ["redis://h?prefix=p&ledger=/x", "postgres://h/d", "sqlite:a.db", "memory:"] {
            assert_eq!(of(url), url);
        }
        assert_eq!(parameter(&Environment::default(), "redis://h"), None);
    }
}
