//! A client in Rust: plain HTTP over a pooled client, urlencoded submits, polls every 5 s. It
//! retries nothing, as a first version does.

use crate::{scene::PACE, tally::Verdict};
use form_urlencoded::Serializer;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::time::Duration;
use tokio::task::JoinSet;

/// Before each poll.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Three minutes of patience.
const MOST_POLLS: u32 = 36;
/// What it knows.
const METHODS: [&str; 2] = ["recaptcha", "turnstile"];

#[derive(Clone)]
struct Script {
    http: Client<HttpConnector, Full<Bytes>>,
    base_url: String,
    key: String,
}

/// Runs every ask, all at once.
pub(crate) async fn run(asks: &[Value]) -> Vec<Verdict> {
    let mut runs = JoinSet::new();
    for ask in asks {
        runs.spawn(run_one(ask.clone()));
    }
    runs.join_all().await.concat()
}

async fn run_one(ask: Value) -> Vec<Verdict> {
    let text = |name: &str| ask[name].as_str().expect("a text").to_owned();
    let script = Script {
        http: Client::builder(TokioExecutor::new()).build_http(),
        base_url: text("base_url"),
        key: text("key"),
    };
    let verdict = |method: &str, outcome: Result<Value, String>| Verdict {
        run: text("run"),
        method: method.to_owned(),
        error: outcome.clone().err(),
        answer: outcome.unwrap_or_default(),
    };
    match text("ask").as_str() {
        "balance" => vec![verdict("balance", script.balance().await)],
        "report" => vec![
            verdict("report", script.report("reportgood").await),
            verdict("report", script.report("reportbad").await),
        ],
        _ => {
            let methods = match text("method").as_str() {
                "all" => METHODS.map(str::to_owned).to_vec(),
                one => vec![one.to_owned()],
            };
            let mut solves = JoinSet::new();
            for method in methods {
                for n in 0..ask["count"].as_u64().expect("a number") {
                    let (script, method) = (script.clone(), method.clone());
                    let page = format!("https://{}.example/{method}/{n}", text("run"));
                    solves
                        .spawn(async move { (method.clone(), script.solve(&method, &page).await) });
                    sleep(Duration::from_millis(ask["every_ms"].as_u64().unwrap_or(0))).await;
                }
            }
            let solved = solves.join_all().await.into_iter();
            solved
                .map(|(method, outcome)| verdict(&method, outcome.map(|(_, answer)| answer)))
                .collect()
        }
    }
}

impl Script {
    async fn solve(&self, method: &str, page: &str) -> Result<(String, Value), String> {
        let named = match method {
            "turnstile" => [("method", "turnstile"), ("sitekey", "0x4AAAAAAADnPIDROrmt1Wwj")],
            _ => [("method", "userrecaptcha"), ("googlekey", "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0")],
        };
        let id = self.post("in.php", &[&named[..], &[("pageurl", page)]].concat()).await?;
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        for _ in 0..MOST_POLLS {
            sleep(POLL_EVERY).await;
            match self.get(&[("action", "get"), ("id", &id)]).await {
                Ok(answer) => return Ok((id, answer)),
                Err(word) if word == "CAPCHA_NOT_READY" => {}
                Err(word) => return Err(word),
            }
        }
        Err("no answer in time".to_owned())
    }

    async fn balance(&self) -> Result<Value, String> {
        self.get(&[("action", "getbalance")]).await
    }

    async fn report(&self, action: &str) -> Result<Value, String> {
        let (id, _) = self.solve("recaptcha", &format!("https://{action}.example/")).await?;
        self.get(&[("action", action), ("id", &id)]).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
        let request = Request::post(format!("{}/{path}", self.base_url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(self.form(fields)));
        self.told(request.expect("a request")).await
    }

    async fn get(&self, fields: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/res.php?{}", self.base_url, self.form(fields));
        self.told(Request::get(url).body(Full::default()).expect("a request")).await
    }

    fn form(&self, fields: &[(&str, &str)]) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("key", &self.key).append_pair("json", "1").extend_pairs(fields).finish()
    }

    /// `request` where `status` is 1; else the code, or what happened.
    async fn told(&self, request: Request<Full<Bytes>>) -> Result<Value, String> {
        let reply = self.http.request(request).await.map_err(|error| error.to_string())?;
        let body = reply.into_body().collect().await.map_err(|error| error.to_string())?;
        let body: Value =
            serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())?;
        match body["status"].as_u64() {
            Some(1) => Ok(body["request"].clone()),
            _ => Err(body["request"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

async fn sleep(time: Duration) {
    // tidy: allow sleep, because clients of this API sleep between polls: it is what is looked at.
    tokio::time::sleep(time.div_f64(PACE)).await;
}
