//! The account's provider, made from the settings.

use crate::{
    config::{ProviderName, Settings},
    exit::Exit,
    fault::{Fault, Result},
};
use deadletter::provider::{
    Provider,
    captchaai::{self, CaptchaAi},
    clean::Cleaner,
    codes::ExtraCode,
    createtask::{self, CreateTask, InvalidSettings},
};
use secrecy::SecretString;
use std::sync::Arc;

/// Stands for a key where nothing is sent. No text holds it by chance.
const NOBODY: &str = "no-key-0f6b1c9e";

/// The provider of the account; a fault where there is no key.
pub(crate) fn provider(settings: &Settings) -> Result<Arc<dyn Provider>> {
    settings.refuse_fast_clock()?;
    with_key(settings, settings.key()?.clone())
}

/// The provider for commands that send nothing.
pub(crate) fn provider_or_nobody(settings: &Settings) -> Result<Arc<dyn Provider>> {
    let key = settings.key.clone().unwrap_or_else(|| SecretString::from(NOBODY));
    with_key(settings, key)
}

/// Takes the key, where there is one, out of any text.
pub(crate) fn cleaner(settings: &Settings) -> Cleaner {
    settings.key.as_ref().map_or_else(Cleaner::default, Cleaner::new)
}

fn with_key(settings: &Settings, key: SecretString) -> Result<Arc<dyn Provider>> {
    let extra = |class: &deadletter::core::Class| ExtraCode { class: *class, retry_after_ms: None };
    let codes = settings.codes.iter().map(|(code, class)| (code.clone(), extra(class))).collect();
    let provider: Result<Arc<dyn Provider>, InvalidSettings> = match settings.provider {
        ProviderName::CaptchaAi => CaptchaAi::new(captchaai::Settings {
            submit_endpoint: settings.submit_endpoint.clone(),
            result_endpoint: settings.result_endpoint.clone(),
            codes,
            ..captchaai::Settings::new(key)
        })
        .map(|provider| Arc::new(provider) as _),
        ProviderName::CreateTask => {
            let usual = createtask::Settings::new(&settings.submit_endpoint, key);
            CreateTask::new(createtask::Settings { codes, ..usual })
                .map(|provider| Arc::new(provider) as _)
        }
    };
    provider.map_err(|error| {
        let exit = match error {
            InvalidSettings::Key => Exit::Key,
            InvalidSettings::Endpoint { .. } => Exit::Usage,
        };
        Fault::new(exit, "the account's settings cannot work")
            .because(error)
            .fix("`deadletter config show` tells where each value comes from")
    })
}
