//! The table of task types: each kind of job in the family's words and in ours.
//!
//! Sources: the documentation of anti-captcha, 2captcha, CapMonster and CapSolver, who agree on most
//! names. `Proxyless` is no part of a type's name here: whether a proxy goes along tells it.

/// One kind of job.
#[derive(Debug)]
pub(super) struct Kind {
    /// Our label of the method, as tasks are counted by.
    pub(super) label: &'static str,
    /// The family's names; the first is the one that is sent.
    pub(super) names: &'static [Name],
    /// What our payload has besides the fields: the method, and what makes this kind of it.
    pub(super) ours: &'static [(&'static str, &'static str)],
    /// Fields of this kind alone.
    pub(super) fields: &'static [Field],
    /// Whether the name that is sent says that no proxy goes along.
    pub(super) proxyless: Proxyless,
    pub(super) shape: Shape,
}

/// A type's name without `Proxyless`, and the field that sets it apart from the same name elsewhere.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) when: Option<(&'static str, &'static str)>,
}

/// When `Proxyless` is added to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxyless {
    /// Where no proxy goes along.
    Without,
    /// The kind has no other form.
    Always,
    Never,
}

/// One field in both forms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its name in a task; `outer.inner` stands inside an object.
    pub(super) theirs: &'static str,
    pub(super) ours: &'static str,
    pub(super) form: Form,
    /// False for another spelling that is read and never sent.
    pub(super) is_sent: bool,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    AsIs,
    /// `true` and `false`; 1 and 0 in ours.
    Flag,
    /// A number, which may be text in ours.
    Number,
}

/// What a solution looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `gRecaptchaResponse`.
    Recaptcha,
    /// `token`.
    Token,
    /// Both of them: services disagree.
    TokenTwice,
    /// `text`.
    Text,
    /// `challenge`, `validate`, `seccode`; with the prefix `geetest_` in ours.
    Geetest,
    /// An object, the same in both.
    Structure,
    /// A cookie named `cf_clearance`.
    Clearance,
}

const fn name(name: &'static str) -> Name {
    Name { name, when: None }
}

const fn field(theirs: &'static str, ours: &'static str) -> Field {
    Field { theirs, ours, form: Form::AsIs, is_sent: true }
}

const fn flag(theirs: &'static str, ours: &'static str) -> Field {
    Field { form: Form::Flag, ..field(theirs, ours) }
}

const fn number(theirs: &'static str, ours: &'static str) -> Field {
    Field { form: Form::Number, ..field(theirs, ours) }
}

const fn read(theirs: &'static str, ours: &'static str) -> Field {
    Field { is_sent: false, ..field(theirs, ours) }
}

/// Fields that every kind may have.
pub(super) const EVERYWHERE: &[Field] =
    &[field("websiteURL", "pageurl"), field("userAgent", "userAgent"), field("cookies", "cookies")];

const RECAPTCHA_V2: &[Field] = &[
    field("websiteKey", "googlekey"),
    flag("isInvisible", "invisible"),
    field("recaptchaDataSValue", "data-s"),
    field("apiDomain", "domain"),
];

const RECAPTCHA_V2_ENTERPRISE: &[Field] = &[
    field("websiteKey", "googlekey"),
    flag("isInvisible", "invisible"),
    field("enterprisePayload.s", "data-s"),
    read("recaptchaDataSValue", "data-s"),
    field("pageAction", "action"),
    field("apiDomain", "domain"),
];

const RECAPTCHA_V3: &[Field] = &[
    field("websiteKey", "googlekey"),
    field("pageAction", "action"),
    number("minScore", "min_score"),
    field("apiDomain", "domain"),
];

const SITE_KEY: &[Field] = &[field("websiteKey", "sitekey")];

/// The more particular of two kinds with the same name stands first.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        label: "userrecaptcha",
        names: &[name("RecaptchaV2Task"), name("NoCaptchaTask")],
        ours: &[("method", "userrecaptcha")],
        fields: RECAPTCHA_V2,
        proxyless: Proxyless::Without,
        shape: Shape::Recaptcha,
    },
    Kind {
        label: "userrecaptcha_enterprise",
        names: &[name("RecaptchaV2EnterpriseTask")],
        ours: &[("method", "userrecaptcha"), ("enterprise", "1")],
        fields: RECAPTCHA_V2_ENTERPRISE,
        proxyless: Proxyless::Without,
        shape: Shape::Recaptcha,
    },
    Kind {
        label: "userrecaptcha_v3_enterprise",
        names: &[
            Name { name: "RecaptchaV3Task", when: Some(("isEnterprise", "1")) },
            name("RecaptchaV3EnterpriseTask"),
        ],
        ours: &[("method", "userrecaptcha"), ("version", "v3"), ("enterprise", "1")],
        fields: RECAPTCHA_V3,
        proxyless: Proxyless::Always,
        shape: Shape::Recaptcha,
    },
    Kind {
        label: "userrecaptcha_v3",
        names: &[name("RecaptchaV3Task")],
        ours: &[("method", "userrecaptcha"), ("version", "v3")],
        fields: RECAPTCHA_V3,
        proxyless: Proxyless::Always,
        shape: Shape::Recaptcha,
    },
    Kind {
        label: "base64",
        names: &[name("ImageToTextTask")],
        ours: &[("method", "base64")],
        fields: &[
            field("body", "body"),
            flag("phrase", "phrase"),
            flag("case", "regsense"),
            number("numeric", "numeric"),
            flag("math", "calc"),
            number("minLength", "min_len"),
            number("maxLength", "max_len"),
            field("comment", "textinstructions"),
            field("imgInstructions", "imginstructions"),
        ],
        proxyless: Proxyless::Never,
        shape: Shape::Text,
    },
    Kind {
        label: "turnstile",
        names: &[name("TurnstileTask"), name("AntiTurnstileTask")],
        ours: &[("method", "turnstile")],
        fields: &[
            field("websiteKey", "sitekey"),
            field("action", "action"),
            read("pageAction", "action"),
            read("metadata.action", "action"),
            field("data", "data"),
            read("metadata.cdata", "data"),
            field("pagedata", "pagedata"),
        ],
        proxyless: Proxyless::Without,
        shape: Shape::Token,
    },
    Kind {
        label: "cloudflare_challenge",
        names: &[name("AntiCloudflareTask")],
        ours: &[("method", "cloudflare_challenge")],
        fields: &[],
        proxyless: Proxyless::Never,
        shape: Shape::Clearance,
    },
    Kind {
        label: "geetest_v4",
        names: &[Name { name: "GeeTestTask", when: Some(("version", "4")) }],
        ours: &[("method", "geetest"), ("version", "4")],
        fields: &[
            field("initParameters.captcha_id", "captcha_id"),
            // Where anti-captcha has it.
            field("gt", "captcha_id"),
            field("geetestApiServerSubdomain", "api_server"),
        ],
        proxyless: Proxyless::Without,
        shape: Shape::Structure,
    },
    Kind {
        label: "geetest",
        names: &[name("GeeTestTask")],
        ours: &[("method", "geetest")],
        fields: &[
            field("gt", "gt"),
            field("challenge", "challenge"),
            field("geetestApiServerSubdomain", "api_server"),
        ],
        proxyless: Proxyless::Without,
        shape: Shape::Geetest,
    },
    Kind {
        label: "friendly_captcha",
        names: &[name("FriendlyCaptchaTask")],
        ours: &[("method", "friendly_captcha")],
        fields: SITE_KEY,
        proxyless: Proxyless::Without,
        shape: Shape::Token,
    },
    Kind {
        label: "captchafox",
        names: &[name("CaptchaFoxTask")],
        ours: &[("method", "captchafox")],
        fields: SITE_KEY,
        proxyless: Proxyless::Without,
        shape: Shape::Token,
    },
    Kind {
        label: "lemin",
        names: &[name("LeminTask")],
        ours: &[("method", "lemin")],
        fields: &[
            field("captchaId", "captcha_id"),
            field("divId", "div_id"),
            field("leminApiServerSubdomain", "api_server"),
        ],
        proxyless: Proxyless::Without,
        shape: Shape::Structure,
    },
    Kind {
        label: "hcaptcha",
        names: &[name("HCaptchaTask")],
        ours: &[("method", "hcaptcha")],
        fields: &[
            field("websiteKey", "sitekey"),
            flag("isInvisible", "invisible"),
            field("enterprisePayload.rqdata", "data"),
        ],
        proxyless: Proxyless::Without,
        shape: Shape::TokenTwice,
    },
];

/// The kind that a method's label names; a file is an image in base64 by another way.
pub(super) fn by_label(label: &str) -> Option<&'static Kind> {
    let label = if label == "post" { "base64" } else { label };
    KINDS.iter().find(|kind| kind.label == label)
}
