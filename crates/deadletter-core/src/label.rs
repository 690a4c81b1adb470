//! Enums that are stored and shown by a word spelled by hand.

/// Why a text is not one of an enum's labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of: {expected}")]
pub struct UnknownLabel {
    /// The text that was read, cut to 80 characters.
    pub text: String,
    /// All labels, joined by commas.
    pub expected: String,
}

/// Declares a field-less enum with `ALL`, `label()`, `about()`, `Display`, `FromStr` and serde by
/// label. What a value means is written once, as its documentation: `about()` repeats it.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that is stored and shown.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What the value means, in a sentence or a paragraph for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($vdoc),+).trim_ascii(),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.label())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::label::UnknownLabel;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($label => Ok(Self::$variant),)+
                    _ => Err($crate::label::UnknownLabel {
                        text: text.chars().take(80).collect(),
                        expected: [$($label,)+].join(", "),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.label())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use labels;

#[cfg(test)]
mod tests {
    use crate::policy::OnDoubt;

    #[test]
    fn an_unknown_word_is_told_beside_those_that_are_known() {
        let error = "perhaps".parse::<OnDoubt>().expect_err("there is no such word");
        assert_eq!(error.to_string(), "\"perhaps\" is none of: resubmit, dead_letter");
    }
}
