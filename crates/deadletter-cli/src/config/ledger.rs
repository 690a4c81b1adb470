//! Where the submits to a Redis store are noted: in the folder of our data, unless its URL says.

use super::environment::Environment;
use form_urlencoded::byte_serialize;

/// The URL of a store with the folder for its submits; as it is where it names one, where there is no
/// such folder, and for stores that lose nothing.
pub(crate) fn complete(environment: &Environment, url: String) -> String {
    let is_redis = url.starts_with("redis://") || url.starts_with("rediss://");
    let (_, parameters) = url.split_once('?').unwrap_or_default();
    let is_named = parameters.split('&').any(|it| it.starts_with("ledger="));
    let folder = environment.data_dir().filter(|_| is_redis && !is_named);
    let Some(folder) = folder.map(|data| data.join("submits")) else { return url };
    let Some(folder) = folder.to_str() else { return url };
    let separator = if parameters.is_empty() { '?' } else { '&' };
    let url = url.trim_end_matches('?');
    let folder: String = byte_serialize(folder.as_bytes()).collect();
    format!("{url}{separator}ledger={folder}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_store_has_its_submits_noted_in_the_folder_of_our_data_unless_it_says_where() {
        let home = Environment::of(&[("HOME", "/home/a b")], "/");
        let of = |url: &str| complete(&home, url.to_owned());
        let folder = "ledger=%2Fhome%2Fa+b%2F.local%2Fshare%2Fdeadletter%2Fsubmits";
        assert_eq!(of("redis://h"), format!("redis://h?{folder}"));
        assert_eq!(of("rediss://h?prefix=p"), format!("rediss://h?prefix=p&{folder}"));
        for url in ["redis://h?prefix=p&ledger=/x", "postgres://h/d", "sqlite:a.db", "memory:"] {
            assert_eq!(of(url), url);
        }
        let nowhere = complete(&Environment::default(), "redis://h".to_owned());
        assert_eq!(nowhere, "redis://h");
    }
}
