//! Every form in which real clients send what they ask.

use crate::rig::{JOB, KEY, World};

const FORM: &str = "application/x-www-form-urlencoded";

/// The task's request as the upstream gets it, and its id.
async fn stored(world: &World, id: &str) -> serde_json::Map<String, serde_json::Value> {
    let payload = world.store.payload(id.parse().unwrap()).await.unwrap().expect("it is stored");
    payload.expose().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_in_every_form_and_stored_alike() {
    let world = World::start().await;
    let part = |name: &str, value: &str| {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = [
        part("key", KEY),
        part("method", "userrecaptcha"),
        part("googlekey", "6Le-wvkSAAAA"),
        part("pageurl", "https://a.example/"),
        "--XX--\r\n".to_owned(),
    ]
    .concat();
    let json = format!(
        r#"{{"key":"{KEY}","method":"userrecaptcha","googlekey":"6Le-wvkSAAAA","pageurl":"https://a.example/"}}"#
    );
    let form = format!("key={KEY}&{JOB}");
    let replies = [
        world.get(&format!("/in.php?{form}")).await,
        world.get(&format!("//in.php?{form}")).await,
        world.post("/in.php", FORM, form.as_bytes()).await,
        world.post("/in.php", "", form.as_bytes()).await,
        world.post(&format!("/in.php?{form}"), "", b"").await,
        world.post(&format!("/in.php?{form}"), "application/json", b"").await,
        world.post(&format!("/in.php?key={KEY}"), FORM, JOB.as_bytes()).await,
        world.post("/in.php", "multipart/form-data; boundary=XX", multipart.as_bytes()).await,
        world.post("/in.php", "application/json", json.as_bytes()).await,
    ];
    for reply in replies {
        assert!(reply.head.contains("text/plain; charset=utf-8"), "{reply:?}");
        let id = reply.body.strip_prefix("OK|").unwrap_or_else(|| panic!("{reply:?}"));
        assert!(id.parse::<u64>().is_ok_and(|id| id < 1 << 53));
        let stored = serde_json::to_value(stored(&world, id).await).unwrap();
        let whole = serde_json::json!({
            "method": "userrecaptcha", "googlekey": "6Le-wvkSAAAA", "pageurl": "https://a.example/"
        });
        assert_eq!(stored, whole, "what is the gateway's is no parameter of the job");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_with_an_expectation_is_taken() {
    let world = World::start().await;
    let (address, form) = (world.address(), format!("key={KEY}&{JOB}"));
    let reply = world
        .raw(
            format!(
                "POST /in.php HTTP/1.1\r\nhost: {address}\r\ncontent-type: {FORM}\r\n\
                 transfer-encoding: chunked\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n\
                 {:x}\r\n{form}\r\n0\r\n\r\n",
                form.len()
            )
            .as_bytes(),
        )
        .await
        .expect("a reply");
    assert!(format!("{}{}", reply.head, reply.body).contains("OK|"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_upstream_as_an_image_in_base64() {
    let world = World::start().await;
    let body = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{KEY}\r\n--XX\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
         Content-Type: image/png\r\n\r\nPNG and so on, long enough to be taken for an image: {}\r\n--XX--\r\n",
        "x".repeat(200)
    );
    let reply = world.post("/in.php", "multipart/form-data; boundary=XX", body.as_bytes()).await;
    let id = reply.body.strip_prefix("OK|").expect("accepted");
    assert_eq!(stored(&world, id).await["method"], "post");
    assert!(world.verdict(id, "").await.body.starts_with("OK|"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_answered_with_courtesy() {
    let world = World::start().await;
    assert!(world.ask("OPTIONS", "/in.php", "", b"").await.head.contains("allow: get, post"));
    assert_eq!(world.ask("DELETE", "/res.php", "", b"").await.status, 405);
    assert_eq!(world.ask("HEAD", "/res.php", "", b"").await.status, 200);
    assert_eq!(world.get("/elsewhere").await.status, 404);
    let old = format!("GET /res.php?key={KEY}&action=get&id=1 HTTP/1.0\r\n\r\n");
    assert_eq!(world.raw(old.as_bytes()).await.unwrap().body, "ERROR_WRONG_CAPTCHA_ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_jobs_are_two_tasks_unless_a_key_names_them() {
    let world = World::start().await;
    assert_ne!(world.submit().await, world.submit().await);
    let named = format!("/in.php?key={KEY}&{JOB}&idempotency_key=order-17");
    assert_eq!(world.get(&named).await.body, world.get(&named).await.body);
    let (address, form) = (world.address(), format!("key={KEY}&{JOB}"));
    let by_header = format!(
        "GET /in.php?{form} HTTP/1.1\r\nhost: {address}\r\nidempotency-key: order-18\r\nconnection: close\r\n\r\n"
    );
    let first = world.raw(by_header.as_bytes()).await.unwrap().body;
    assert_eq!(world.raw(by_header.as_bytes()).await.unwrap().body, first);
}
