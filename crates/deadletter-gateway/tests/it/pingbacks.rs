//! Pingbacks and callbacks: the end of a task is posted to the URL that its submit named, under our
//! id, and upstream hears nothing of it.

use crate::{
    keys::issue_to,
    rig::{JOB, KEY, World, memory},
};
use deadletter::core::{DeliveryState, TaskId};
use deadletter_gateway::KeyTerms;
use deadletter_sim::{Fault, OutageMode, Rule, Scenario};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes posts on this machine.
struct Receiver {
    address: SocketAddr,
    posts: mpsc::UnboundedReceiver<(String, String)>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, posts) = mpsc::unbounded_channel();
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut got = Vec::new();
                let whole = loop {
                    let read = stream.read_buf(&mut got).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&got).into_owned();
                    if let Some((head, body)) = text.split_once("\r\n\r\n")
                        && (body.len() >= length(head) || read == 0)
                    {
                        break (head.to_owned(), body.to_owned());
                    }
                    assert!(read > 0, "half a request: {text}");
                };
                let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK";
                stream.write_all(reply.as_bytes()).await.ok();
                sender.send(whole).ok();
            }
        });
        Self { address, posts }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Head and body of the next post.
    async fn next(&mut self) -> (String, String) {
        tokio::time::timeout(PATIENCE, self.posts.recv()).await.expect("told").expect("there")
    }
}

fn length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let value = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What in.php says to a plain job with that parameter.
async fn submit(world: &World, key: &str, parameter: &str, url: &str) -> String {
    world.get(&format!("/in.php?key={key}&{JOB}&{parameter}={}", encoded(url))).await.body
}

fn id_of(said: &str) -> String {
    said.strip_prefix("OK|").unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_posted_under_our_id_and_upstream_hears_nothing_of_it() {
    let (world, mut receiver) = (World::start().await, Receiver::start().await);
    for parameter in ["pingback", "callback"] {
        let url = receiver.url("/done?secret=hunter2");
        let id = id_of(&submit(&world, KEY, parameter, &url).await);
        let (head, body) = receiver.next().await;
        assert!(head.starts_with("POST /done?secret=hunter2 HTTP/1.1"), "{head}");
        assert!(head.contains("application/x-www-form-urlencoded"), "{head}");
        let task: TaskId = id.parse().unwrap();
        let delivery = world.store.deliveries(task, 1).await.unwrap().remove(0);
        assert!(head.contains(&format!("webhook-id: {}", delivery.id())), "{head}");
        let fields: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let polled = world.verdict(&id, "").await.body;
        let answer = polled.strip_prefix("OK|").expect("solved").to_owned();
        assert_eq!(fields, [("id".to_owned(), id), ("code".to_owned(), answer)]);
    }
    let log = format!("{:?}", world.sim.log().entries().collect::<Vec<_>>());
    assert!(!log.contains("hunter2") && !log.contains("pingback") && !log.contains("callback"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_of_the_family_is_what_get_task_result_says_with_the_tasks_id() {
    let (world, mut receiver) = (World::start().await, Receiver::start().await);
    let task = json!({"type": "RecaptchaV2TaskProxyless", "websiteURL": "https://a.example/",
        "websiteKey": "6Le-wvkSAAAA", "callbackUrl": "http://192.0.2.1/within-a-task-is-none"});
    let create = json!({"clientKey": KEY, "task": task, "callbackUrl": receiver.url("/x")});
    let ask = async |path: &str, body: &Value| -> Value {
        let reply = world.post(path, "application/json", body.to_string().as_bytes()).await;
        serde_json::from_str(&reply.body).unwrap()
    };
    let id = ask("/createTask", &create).await["taskId"].clone();
    let (head, body) = receiver.next().await;
    assert!(head.contains("content-type: application/json"), "{head}");
    let mut told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told.as_object_mut().unwrap().remove("taskId"), Some(id.clone()));
    let mut polled = ask("/getTaskResult", &json!({"clientKey": KEY, "taskId": id})).await;
    polled.as_object_mut().unwrap().remove("ip");
    assert_eq!(told, polled);
    for url in [json!(7), json!("ftp://a/"), json!("http://10.0.0.1/")] {
        let create = json!({"clientKey": KEY, "task": create["task"], "callbackUrl": url});
        let told = ask("/createTask", &create).await;
        assert_eq!(told["errorCode"], "ERROR_BAD_PARAMETERS", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_is_posted_in_upstreams_words() {
    let scenario = Scenario::named("happy").unwrap().rule(Rule::new(Fault::Unsolvable));
    let (world, mut receiver) = (World::with(scenario, |_| ()).await, Receiver::start().await);
    let id = id_of(&submit(&world, KEY, "pingback", &receiver.url("/")).await);
    let (_, body) = receiver.next().await;
    assert_eq!(body, format!("id={id}&code=ERROR_CAPTCHA_UNSOLVABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_told_when_a_gateway_stopped_is_told_by_the_next() {
    let store = memory();
    let world =
        World::on(std::sync::Arc::clone(&store), Scenario::named("happy").unwrap(), |_| ()).await;
    world.sim.outage(OutageMode::Html502);
    let mut receiver = Receiver::start().await;
    let id = id_of(&submit(&world, KEY, "pingback", &receiver.url("/")).await);
    let World { gateway, engine, sim, .. } = world;
    gateway.stop().await;
    engine.stop().await.unwrap();
    sim.stop().await;
    let next = World::on(store, Scenario::named("happy").unwrap(), |_| ()).await;
    let (_, body) = receiver.next().await;
    assert!(body.starts_with(&format!("id={id}&code=SIM-")), "{body}");
    let settled = async {
        loop {
            let told = next.store.deliveries(id.parse().unwrap(), 1).await.unwrap();
            if told[0].state == DeliveryState::Delivered {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_nothing_may_be_delivered_to_is_refused_and_the_job_is_not_taken() {
    let world = World::start().await;
    for url in [
        "nonsense",
        "ftp://a.example/",
        "http://user:pass@a.example/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://a.example:22/",
    ] {
        assert_eq!(submit(&world, KEY, "pingback", url).await, "ERROR_BAD_PARAMETERS", "{url}");
    }
    assert_eq!(world.store.totals().await.unwrap().accepted, 0);
    let list = json!({"key": KEY, "method": "userrecaptcha", "pingback": ["http://a.example/"]});
    let listed = world.post("/in.php", "application/json", list.to_string().as_bytes()).await;
    assert_eq!(listed.body, "ERROR_BAD_PARAMETERS");
    let empty = submit(&world, KEY, "pingback", " ").await;
    assert!(empty.starts_with("OK|"), "an empty parameter is none: {empty}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_jobs_that_are_told_elsewhere_are_not_folded() {
    let happy = Scenario::named("happy").unwrap();
    let world = World::with(happy, |settings| settings.fold_ms = Some(60_000)).await;
    let mut receiver = Receiver::start().await;
    world.sim.outage(OutageMode::Html502);
    let [one, again] = [receiver.url("/1"), receiver.url("/1")];
    let first = submit(&world, KEY, "pingback", &one).await;
    assert_eq!(submit(&world, KEY, "pingback", &again).await, first, "a client's own retry");
    assert_ne!(submit(&world, KEY, "pingback", &receiver.url("/2")).await, first);
    world.sim.end_outage();
    let mut told = [receiver.next().await.0, receiver.next().await.0];
    told.sort();
    assert!(told[0].starts_with("POST /1 ") && told[1].starts_with("POST /2 "), "{told:?}");
}

async fn ask(world: &World, key: &SecretString, action: &str, more: &str) -> String {
    let key = key.expose_secret();
    world.get(&format!("/res.php?key={key}&action={action}{more}")).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_is_a_keys_own_and_is_listed_as_2captcha_lists_it() {
    let world = World::start().await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    assert_eq!(ask(&world, &shop, "get_pingback", "").await, "OK|");
    for url in ["http://a.example/done", "http://b.example", "http://a.example/done"] {
        let addr = format!("&addr={}", encoded(url));
        assert_eq!(ask(&world, &shop, "add_pingback", &addr).await, "OK");
    }
    let listed = "http://a.example/done|http://b.example/";
    assert_eq!(ask(&world, &shop, "get_pingback", "").await, format!("OK|{listed}"));
    let in_json = ask(&world, &shop, "get_pingback", "&json=1").await;
    assert_eq!(in_json, format!(r#"{{"status":1,"request":"{listed}"}}"#));
    assert_eq!(ask(&world, &ci, "get_pingback", "").await, "OK|");
    assert_eq!(ask(&world, &shop, "del_pingback", "&addr=http://b.example/").await, "OK");
    assert_eq!(ask(&world, &shop, "get_pingback", "").await, "OK|http://a.example/done");
    assert_eq!(
        ask(&world, &shop, "del_pingback", "&addr=all&json=1").await,
        r#"{"status":1,"request":"OK"}"#
    );
    assert_eq!(ask(&world, &shop, "get_pingback", "").await, "OK|");
    for addr in ["", "&addr=nonsense", "&addr=http://10.0.0.1/", "&addr=http://a.example/%3Fs%3D1"]
    {
        let said = ask(&world, &shop, "add_pingback", addr).await;
        assert_eq!(said, "ERROR_BAD_PARAMETERS", "{addr}");
    }
    assert_eq!(ask(&world, &shop, "del_pingback", "").await, "ERROR_BAD_PARAMETERS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_register_is_told_there_alone() {
    let (world, mut receiver) = (World::start().await, Receiver::start().await);
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    let addr = format!("&addr={}", encoded(&receiver.url("/done/")));
    assert_eq!(ask(&world, &shop, "add_pingback", &addr).await, "OK");
    let key = shop.expose_secret();
    for url in [receiver.url("/other"), "http://a.example/done/".to_owned()] {
        assert_eq!(submit(&world, key, "pingback", &url).await, "ERROR_BAD_PARAMETERS", "{url}");
    }
    let id = id_of(&submit(&world, key, "pingback", &receiver.url("/done/7?s=1")).await);
    assert!(receiver.next().await.1.starts_with(&format!("id={id}&")));
    let other = submit(&world, ci.expose_secret(), "pingback", &receiver.url("/other")).await;
    assert!(other.starts_with("OK|"), "another key has no register: {other}");
    receiver.next().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_counted_and_no_url_is_a_label() {
    let (world, mut receiver) = (World::start().await, Receiver::start().await);
    let id = id_of(&submit(&world, KEY, "pingback", &receiver.url("/hunter2")).await);
    receiver.next().await;
    let counted = world
        .ask_until("/metrics", |page| {
            page.contains("deadletter_deliveries{state=\"delivered\"} 1")
                && page.contains("deadletter_delivery_tries_total{came=\"delivered\"} 1")
                && page.contains("deadletter_deliveries{state=\"waiting\"} 0")
        })
        .await;
    assert!(!counted.body.contains("hunter2") && !counted.body.contains(&id));
}
