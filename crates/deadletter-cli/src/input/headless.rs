//! CSV without the line that names its columns: recognised by what stands in a row, never guessed at.

use crate::fault::Fault;
use std::fmt::Display;

/// What may part the fields of a row.
const MARKS: [char; 3] = [',', ';', '\t'];
/// Site keys are longer; what is shorter may be part of a URL.
const SITEKEY_MIN: usize = 6;

/// The header that a line of a list of pages lacks, if it is a row: a page URL beside a site key.
/// None for a URL alone, which may hold commas of its own.
pub(super) fn of_page(line: &str) -> Option<String> {
    MARKS.iter().find_map(|mark| {
        let cells: Vec<String> = line.split(*mark).map(cell).collect();
        let is_row = cells.iter().any(|cell| is_sitekey(cell));
        (is_row && is_page(cells.first()?)).then(|| header(&cells, *mark))
    })
}

/// The header that a file of rows lacks, if its first line is a row: it has a page URL in it.
pub(super) fn of_header(cells: &[String]) -> Option<String> {
    cells.iter().any(|cell| is_page(cell)).then(|| header(cells, ','))
}

/// For a file of that name whose first line should be `header`.
pub(super) fn fault(name: &impl Display, header: &str) -> Fault {
    Fault::usage(format!("{name} looks like CSV without a header"))
        .why("its first line holds a page URL and more, and names no column")
        .fix(format!("put this line before it: {header}"))
}

/// The cells' names, parted as they are; what is none of ours is a column that is left out.
fn header(cells: &[String], mark: char) -> String {
    let (mut has_page, mut has_sitekey) = (false, false);
    let names = cells.iter().enumerate().map(|(n, cell)| {
        if is_page(cell) && !std::mem::replace(&mut has_page, true) {
            return "url".to_owned();
        }
        if is_sitekey(cell) && !std::mem::replace(&mut has_sitekey, true) {
            return "sitekey".to_owned();
        }
        format!("column{}", n + 1)
    });
    names.collect::<Vec<_>>().join(&mark.to_string())
}

fn cell(text: &str) -> String {
    text.trim().trim_matches('"').trim().to_owned()
}

fn is_page(cell: &str) -> bool {
    let begin = cell.get(..8).unwrap_or(cell).to_ascii_lowercase();
    begin.starts_with("http://") || begin == "https://"
}

/// As reCAPTCHA, Turnstile and hCaptcha write them.
fn is_sitekey(cell: &str) -> bool {
    let is_word = cell.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let begins = ["6L", "0x"].iter().any(|begin| cell.starts_with(begin));
    let is_uuid = cell.len() == 36
        && cell.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && cell.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_word && (is_uuid || begins && cell.len() >= SITEKEY_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_from_a_url_that_holds_commas() {
        for (line, header) in [
            ("https://a.example/x,6Le-wvkSAAAAAPBMRTvw", "url,sitekey"),
            ("https://a.example/x ; \"6Le-wvkSAAAAAPBMRTvw\"", "url;sitekey"),
            ("HTTP://a.example\t0x4AAAAAAA\tmine", "url\tsitekey\tcolumn3"),
            ("https://a.example,10000000-ffff-ffff-ffff-000000000001", "url,sitekey"),
        ] {
            assert_eq!(of_page(line).as_deref(), Some(header), "{line}");
        }
        for url in [
            "https://a.example/@52.5,13.4,12z",
            "https://a.example/?q=a;b,c",
            "https://a.example/6Le-wvkSAAAAAPBMRTvw",
            "https://a.example/,6L",
            "https://a.example/1,2/6Le-wvkSAAAAAPBMRTvw",
        ] {
            assert_eq!(of_page(url), None, "{url}");
        }
    }

    #[test]
    fn a_header_holds_no_page() {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let row = cells("6Le-wvkSAAAAAPBMRTvw,https://a.example,x");
        assert_eq!(of_header(&row).as_deref(), Some("sitekey,url,column3"));
        assert_eq!(of_header(&cells("sitekey,url,note")), None);
    }
}
