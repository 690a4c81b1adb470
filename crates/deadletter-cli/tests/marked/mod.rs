//! Tables in documents, between marks that name them.

/// What stands before a table, with its mark, the table, and what stands behind it.
pub(crate) fn parts<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (begin, end) = (format!("<!-- table: {name} -->"), "<!-- end of table -->");
    let from = text.find(&begin)? + begin.len();
    let to = from + text.get(from..)?.find(end)?;
    Some((text.get(..from)?, text.get(from..to)?, text.get(to..)?))
}
