//! A key never reaches an error, whatever upstream or the line does with it.

use super::peer::{Act, Peer, answer};
use super::*;
use deadletter::provider::captchaai::InvalidSettings;

/// Everything that an error shows, its chain included.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(|error| format!("{error} {error:?}")).collect()
}

#[tokio::test]
async fn an_upstream_that_echoes_the_request_leaks_nothing() {
    let id = UpstreamId::new("7").unwrap();
    let echo = format!("/res.php?key={KEY}&action=get&id=7");
    for body in [
        format!("<html>502 for {echo}</html>"),
        format!("ERROR_BAD_PARAMETERS|{echo}"),
        format!(r#"{{"status":0,"request":"ERROR_X","error_text":"key {KEY} is bad"}}"#),
        format!(r#"{{"status":0,"request":"ERROR_{}"}}"#, KEY.to_uppercase()),
        format!("ERROR_{KEY}"),
        // The glimpse of an unreadable body ends within the key.
        format!("{}{KEY}", "x ".repeat(36)),
        format!("user:{KEY}@10.0.0.1:80"),
    ] {
        for headers in ["", &format!("Content-Type: text/{KEY}\r\n")] {
            let peer = Peer::answering(&vec![answer(200, headers, &body); 4]).await;
            let provider = patient(&peer.base);
            let errors = [
                shown(&submit(&provider, &recaptcha()).await.unwrap_err()),
                shown(&poll(&provider).await.unwrap_err()),
                shown(&provider.account().await.unwrap_err()),
                provider
                    .report(&id, "userrecaptcha", true)
                    .await
                    .err()
                    .map_or(String::new(), |no| shown(&no)),
            ];
            for error in errors {
                assert!(!error.to_lowercase().contains(&KEY[..8]), "{error}");
                assert!(!error.contains("action=get"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_broken_line_leaks_nothing() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{KEY}");
    for script in [
        vec![Act::Reset],
        vec![Act::Read],
        vec![Act::Read, Act::Wait],
        vec![Act::Read, Act::Write(head.into_bytes())],
        vec![Act::Read, Act::Write(format!("{KEY}\r\n\r\n").into_bytes())],
    ] {
        let peer = Peer::playing(vec![script]).await;
        let error = shown(&poll(&hasty(&peer.base)).await.unwrap_err());
        assert!(!error.contains(KEY) && !error.contains("res.php"), "{error}");
    }
}

#[test]
fn neither_settings_nor_provider_print_the_key() {
    let settings = settings("http://127.0.0.1:1");
    assert!(!format!("{settings:?}").contains(KEY));
    assert!(!format!("{:?}", CaptchaAi::new(settings).unwrap()).contains(KEY));
}

#[test]
fn a_wrong_endpoint_is_reported_without_its_address() {
    let wrong = Settings {
        result_endpoint: format!("https://bob:hunter2@a.example/res.php?key={KEY}"),
        ..settings("http://127.0.0.1:1")
    };
    let error = CaptchaAi::new(wrong).unwrap_err();
    assert_eq!(error.to_string(), "the result endpoint holds credentials");
    for key in ["", "a b", "a*b", "ü", &"k".repeat(129)] {
        let wrong = Settings { key: SecretString::from(key), ..settings("http://127.0.0.1:1") };
        assert_eq!(CaptchaAi::new(wrong).unwrap_err(), InvalidSettings::Key);
    }
}
