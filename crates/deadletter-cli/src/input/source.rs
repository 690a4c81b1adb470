//! Where rows come from, and how the file is written.

use super::headless;
use crate::{
    fault::{Fault, Result},
    render::cut,
};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::PathBuf,
    str::FromStr,
};

/// Bytes looked at to tell how a file is written.
const PREFIX: u64 = 4_096;

/// A file, or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `-`.
    Stdin,
    /// A path.
    File(PathBuf),
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Comma, semicolon or tab separated, with a header.
    Csv {
        /// The name says that tabs part the fields.
        tabs: bool,
    },
    /// One object a line.
    JsonLines,
    /// One list of objects.
    JsonArray,
    /// The URL of a page a line.
    Pages,
}

impl Format {
    /// For people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Csv { .. } => "CSV",
            Self::JsonLines => "JSON lines",
            Self::JsonArray => "a JSON list",
            Self::Pages => "page URLs, one a line",
        }
    }
}

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("it is empty".to_owned()),
            "-" => Ok(Self::Stdin),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A reader of any source.
pub(crate) type Reader = Box<dyn BufRead + Send>;

impl Source {
    /// The name that its batch and its rejects are called after.
    pub(crate) fn stem(&self) -> String {
        let stem = match self {
            Self::Stdin => None,
            Self::File(path) => path.file_stem().and_then(|stem| stem.to_str()),
        };
        cut(stem.unwrap_or("stdin"), 80)
    }

    /// Opens it and looks how it is written: by its name, else by its first character.
    pub(crate) fn open(&self) -> Result<(Format, Reader)> {
        let mut reader = self.reader()?;
        let failed = |error| self.unreadable(error);
        let mut prefix = Vec::new();
        reader.by_ref().take(PREFIX).read_to_end(&mut prefix).map_err(failed)?;
        if prefix.starts_with(&[0xff, 0xfe]) || prefix.starts_with(&[0xfe, 0xff]) {
            return Err(Fault::usage(format!("{self} is written in UTF-16"))
                .fix("save it as UTF-8 and try again"));
        }
        // Spreadsheets put a mark in front of UTF-8; it belongs to no column.
        let prefix =
            prefix.strip_prefix(&[0xef, 0xbb, 0xbf]).map_or(prefix.clone(), <[u8]>::to_vec);
        let format = self.format(&prefix);
        if format == Format::Pages
            && let Some(header) =
                telling(&prefix).and_then(|line| headless::of_page(&String::from_utf8_lossy(line)))
        {
            return Err(headless::fault(self, &header));
        }
        Ok((format, Box::new(Cursor::new(prefix).chain(reader))))
    }

    /// What cannot be read.
    pub(crate) fn unreadable(&self, error: io::Error) -> Fault {
        Fault::usage(format!("cannot read {self}"))
            .because(error)
            .fix("look for a slip in its name; - reads standard input")
    }

    fn reader(&self) -> Result<Reader> {
        match self {
            Self::Stdin => Ok(Box::new(BufReader::new(io::stdin()))),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| self.unreadable(error))?;
                if file.metadata().is_ok_and(|data| data.is_dir()) {
                    return Err(
                        Fault::usage(format!("{self} is a directory")).fix("name a file in it")
                    );
                }
                Ok(Box::new(BufReader::new(file)))
            }
        }
    }

    fn format(&self, prefix: &[u8]) -> Format {
        let extension = match self {
            Self::Stdin => None,
            Self::File(path) => path.extension().and_then(|extension| extension.to_str()),
        };
        let first = lines(prefix).find_map(<[u8]>::first);
        let is_page = telling(prefix).is_some_and(|line| {
            let begin: Vec<u8> = line.iter().take(8).map(u8::to_ascii_lowercase).collect();
            begin.starts_with(b"http://") || begin == b"https://"
        });
        match (extension.map(str::to_ascii_lowercase).as_deref(), first) {
            (Some("tsv" | "tab"), _) => Format::Csv { tabs: true },
            (Some("csv"), _) => Format::Csv { tabs: false },
            (Some("jsonl" | "ndjson"), _) => Format::JsonLines,
            (_, Some(b'[')) => Format::JsonArray,
            (_, Some(b'{')) => Format::JsonLines,
            _ if is_page => Format::Pages,
            _ => Format::Csv { tabs: false },
        }
    }
}

fn lines(prefix: &[u8]) -> impl Iterator<Item = &[u8]> {
    prefix.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// The first line that is neither blank nor a remark.
fn telling(prefix: &[u8]) -> Option<&[u8]> {
    lines(prefix).find(|line| !line.is_empty() && !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format_and_else_the_first_character() {
        let format = |name: &str, text: &str| Source::File(name.into()).format(text.as_bytes());
        assert_eq!(format("a.csv", "{"), Format::Csv { tabs: false });
        assert_eq!(format("a.TSV", "x"), Format::Csv { tabs: true });
        assert_eq!(format("a.jsonl", "x"), Format::JsonLines);
        assert_eq!(format("a.json", " \n["), Format::JsonArray);
        assert_eq!(format("a.json", "{\"a\":1}"), Format::JsonLines);
        assert_eq!(format("a.txt", "sitekey,url"), Format::Csv { tabs: false });
        assert_eq!(format("a.txt", "\n# mine\r\n  HTTPS://a.example\n"), Format::Pages);
        assert_eq!(format("a", "http://a.example"), Format::Pages);
        assert_eq!(format("a.csv", "http://a.example"), Format::Csv { tabs: false });
        assert_eq!(format("a.txt", "#url\n\n6Le,http://a.example"), Format::Csv { tabs: false });
    }

    #[test]
    fn a_mark_before_utf_8_is_no_part_of_the_first_column() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "\u{feff}sitekey,url\n").expect("written");
        let (_, mut reader) = Source::File(path.clone()).open().expect("opened");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "sitekey,url\n");
        std::fs::write(&path, [0xff, 0xfe, 0x41, 0x00]).expect("written");
        assert!(Source::File(path).open().is_err());
    }
}
