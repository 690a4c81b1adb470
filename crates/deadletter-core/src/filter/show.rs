//! A filter as text, in the one spelling that parses back to the same filter.

use super::{
    Filter,
    compare::Compare,
    pattern::Pattern,
    term::{Term, Values},
};
use std::fmt;

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("*");
        }
        for (at, term) in self.terms.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:", if self.negated { "-" } else { "" }, self.key)?;
        match &self.values {
            Values::States(states) => joined(f, states, fmt::Display::fmt),
            Values::Reasons(reasons) => joined(f, reasons, fmt::Display::fmt),
            Values::Classes(classes) => joined(f, classes, fmt::Display::fmt),
            Values::Whys(whys) => joined(f, whys, fmt::Display::fmt),
            Values::Held(answers) => {
                joined(f, answers, |held, f| f.write_str(if *held { "yes" } else { "no" }))
            }
            Values::Ids(ids) => joined(f, ids, fmt::Display::fmt),
            Values::Texts(patterns) => joined(f, patterns, fmt::Display::fmt),
            Values::Numbers(compares) => joined(f, compares, |c, f| Compare::show_number(*c, f)),
            Values::Ages(compares) => joined(f, compares, |c, f| Compare::show_age(*c, f)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let splits_term = |c: char| c.is_whitespace() || c == ',';
        let quoted =
            self.exact() == Some("") || self.parts().iter().any(|p| p.contains(splits_term));
        let quote = if quoted { "\"" } else { "" };
        f.write_str(quote)?;
        for (at, part) in self.parts().iter().enumerate() {
            if at > 0 {
                f.write_str("*")?;
            }
            for c in part.chars() {
                if matches!(c, '"' | '\\' | '*') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        f.write_str(quote)
    }
}

fn joined<T>(
    f: &mut fmt::Formatter<'_>,
    values: &[T],
    show: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            f.write_str(",")?;
        }
        show(value, f)?;
    }
    Ok(())
}
