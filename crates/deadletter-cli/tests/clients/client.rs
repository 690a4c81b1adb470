//! The clients, and what each is known to lose when nothing stands between it and a bad upstream.

use crate::{door::Way, install, tally::Loss};

/// How a client is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A driver in `clients/python`.
    Python(&'static str),
    /// A driver in `clients/node`.
    Node(&'static str),
    /// `native`, in this process.
    Native,
}

/// One client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// The package, with what tells two of its clients apart; or the file.
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// The method of its scenes that want but one: reCAPTCHA v2, by this client's name for it.
    pub(crate) plain: &'static str,
    /// It speaks https and nothing else.
    pub(crate) wants_tls: bool,
    /// It can ask for a balance, or for threads.
    pub(crate) asks_balance: bool,
    /// It can report answers.
    pub(crate) reports: bool,
    /// It submits again where it could not ask: what is lost of its polls is paid for twice.
    pub(crate) pays_again: bool,
    /// Scenes in which it does not fare as `usual`.
    unusual: &'static [(&'static str, Loss)],
}

const fn client(name: &'static str, program: Program, plain: &'static str) -> Client {
    Client {
        name,
        program,
        plain,
        wants_tls: false,
        asks_balance: true,
        reports: false,
        pays_again: false,
        unusual: &[],
    }
}

/// Every client, in the order of the table.
pub(crate) static CLIENTS: [Client; 11] = [
    client("captchaai", Program::Python("captchaai_sync"), "recaptcha_v2"),
    client("captchaai, async", Program::Python("captchaai_async"), "recaptcha_v2"),
    Client {
        wants_tls: true,
        reports: true,
        ..client("2captcha-python", Program::Python("twocaptcha_sync"), "recaptcha")
    },
    Client {
        wants_tls: true,
        reports: true,
        ..client("2captcha-python, async", Program::Python("twocaptcha_async"), "recaptcha")
    },
    Client {
        // Its ids must be strings, and upstream's ids of reCAPTCHAs are numbers.
        unusual: &[("methods", Loss::Something)],
        ..client("python-rucaptcha", Program::Python("rucaptcha"), "turnstile")
    },
    Client {
        wants_tls: true,
        reports: true,
        ..client("@2captcha/captcha-solver", Program::Node("twocaptcha"), "recaptcha")
    },
    Client {
        reports: true,
        ..client("anticaptchaofficial", Program::Python("anticaptcha"), "recaptcha")
    },
    Client {
        ..client("@zennolab_com/capmonstercloud-client", Program::Node("capmonster"), "recaptcha")
    },
    Client {
        asks_balance: false,
        pays_again: true,
        unusual: RETRIES,
        ..client("examples/solve.py", Program::Python("example"), "recaptcha")
    },
    Client {
        asks_balance: false,
        pays_again: true,
        unusual: RETRIES,
        ..client("examples/solve.mjs", Program::Node("example"), "recaptcha")
    },
    Client { reports: true, ..client("in Rust", Program::Native, "recaptcha") },
];

/// A script that tries four times may come through, and pays for it.
const RETRIES: &[(&str, Loss)] = &[("flaky", Loss::Chance), ("full", Loss::Chance)];

impl Client {
    /// Its name with the version that `clients/install` installs, where it is a package.
    pub(crate) fn title(&self) -> String {
        let (package, kind) = self.name.split_once(", ").unwrap_or((self.name, ""));
        let file = match self.program {
            Program::Python(_) => "python/requirements.txt",
            _ => "node/package.json",
        };
        let pins = std::fs::read_to_string(install::root().join("clients").join(file));
        let pins = pins.expect("the pins are there").replace("\": \"", "==");
        let behind = pins.split_once(&format!("{package}==")).map(|(_, behind)| behind);
        let is_version = |c: char| c.is_ascii_digit() || c == '.';
        let version: String =
            behind.unwrap_or_default().chars().take_while(|c| is_version(*c)).collect();
        [package, &version, kind]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// What it loses there.
    pub(crate) fn loses(&self, scene: &str, way: Way) -> Loss {
        if way == Way::ThroughTheGateway {
            return match scene {
                // What cannot be solved, and who may not ask: no gateway changes that.
                "unsolvable" | "wrong key" => Loss::All,
                "killed" => Loss::NotAll,
                _ => Loss::Nothing,
            };
        }
        let unusual = self.unusual.iter().find(|(name, _)| *name == scene);
        unusual.map_or_else(|| usual(scene), |(_, loss)| *loss)
    }
}

/// What clients lose.
fn usual(scene: &str) -> Loss {
    match scene {
        "unsolvable" | "wrong key" => Loss::All,
        // So short that whoever asks seldom, or late, may sleep through it.
        "restart" => Loss::Chance,
        "flaky" | "full" | "outage" => Loss::Something,
        _ => Loss::Nothing,
    }
}
