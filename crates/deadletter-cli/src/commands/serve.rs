//! `deadletter serve`: the gateway, to which scripts point their base URL.

mod tls;

use crate::{
    app::App,
    config::{Settings, TIME_SCALE_VARIABLE, masked},
    exit::Exit,
    fault::{Fault, Result},
    render,
    signals::Signals,
    work,
};
use deadletter::Notice;
use deadletter_gateway::{
    Askers, Gateway, IssuedKey, SUBMIT_WAIT_MAX, ServeError, Tls, issued, serve, serve_on,
};
use listenfd::ListenFd;
use secrecy::ExposeSecret;
use serde_json::json;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::sync::broadcast::error::RecvError;

/// Issued keys that are named at the start.
const SHOWN_KEYS: usize = 5;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter serve\n  deadletter serve --listen 127.0.0.1:9000 --deadline 10m\n  deadletter serve --fold-window 3m --tls local",
    after_help = "Point a script at it by its base URL; its key is the account's own, until the first \
                  `deadletter key add NAME`: then each client has a key of its own, and its own tasks. \
                  Every job that it accepts is stored before it is answered. Stop it with ctrl-C: what \
                  is on the wire is awaited, everything else waits for the next start. Started by a \
                  socket unit of systemd (docs/serving.md), it listens at that socket, and clients wait \
                  where its port would refuse them while it is started again. Beside a simulator that \
                  runs faster than time (DEADLETTER_TIME_SCALE), deadlines pass as much faster."
)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8402")]
    listen: SocketAddr,
    /// How long a client waits for its answer: after it nothing new is submitted for it, and its polls
    /// are told ERROR_CAPTCHA_UNSOLVABLE unless an answer still comes
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = render::duration_ms)]
    deadline: i64,
    /// Wait so long for upstream's word on a submit, at most 4s, so that a job which can never work
    /// is refused on in.php; 0 answers as soon as the job is stored
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = wait_ms)]
    submit_wait: i64,
    /// Answer a submit with the id of an equal one of the same key that is not answered yet and no
    /// older than this: a client's own retry, say 3m; left out, two equal submits are two jobs
    #[arg(long, value_name = "TIME", value_parser = render::duration_ms)]
    fold_window: Option<i64>,
    /// Jobs waiting and under way that are accepted; beyond them ERROR_NO_SLOT_AVAILABLE
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    capacity: u64,
    /// One more name that clients may call this machine by
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Let pages of any origin read answers that they ask for with header_acao=1
    #[arg(long)]
    header_acao: bool,
    /// A network or address, such as 127.0.0.1 or 10.0.0.0/8, to which answers may be posted although
    /// it is not a public one (deliveries.allow); more than once for more of them
    #[arg(long, value_name = "NETWORK")]
    allow_deliveries: Vec<String>,
    #[command(flatten)]
    tls: tls::TlsArgs,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings_with(&own(&args))?;
    let key = settings.key()?.clone();
    let (tls, trust) = args.tls.read(app, &args.allow_host)?.unzip();
    let mut signals = Signals::listen()?;
    let engine = Arc::new(work::idle(app, &settings).await?);
    let gateway = Gateway::new(Arc::clone(&engine), Askers::new(Some(key)), how(&args, tls));
    let running = match handed_down()? {
        Some(listener) => serve_on(Arc::new(gateway), listener).await,
        None => serve(Arc::new(gateway)).await,
    };
    let running = running.map_err(refused)?;
    let url = base_url(&args, running.address());
    let keys = issued(&engine).await.map_err(super::key::of_key)?;
    let mut notices = engine.notices();
    if let Some((speed, _)) = settings.time_scale {
        app.out.warn(&hurried(speed, args.deadline));
    }
    // Said first: who cannot be told where to go must not find work begun.
    announce(app, &settings, &keys, &url, trust.flatten().as_ref())?;
    work::begin(app, &engine).await?;
    loop {
        tokio::select! {
            () = signals.next() => break,
            notice = notices.recv() => match notice {
                Ok(notice) => tell(app, &notice),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
        }
    }
    app.out.say("stopping: nothing new is accepted; press ctrl-C again to leave at once");
    let leave = async {
        running.stop().await;
        engine.stop().await
    };
    tokio::select! {
        left = leave => left.map_err(work::of_engine).map(|()| Exit::Good),
        () = signals.next() => {
            app.out.warn("left at once; what was on the wire is looked at by the next start");
            Ok(Exit::Interrupted)
        }
    }
}

/// The socket of a supervisor that goes on listening while this process is started again.
fn handed_down() -> Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        let fault = format!("{} sockets are handed down, and it listens at one", sockets.len());
        return Err(Fault::usage(fault)
            .fix("let the socket unit have one ListenStream=, and name it alone in Sockets="));
    }
    sockets.take_tcp_listener(0).map_err(|error| {
        Fault::usage("LISTEN_FDS names no TCP socket that listens")
            .because(error)
            .fix("let the socket unit say ListenStream=127.0.0.1:8402, or unset LISTEN_FDS")
    })
}

/// Settings that its own flags set.
fn own(args: &Args) -> Vec<(&'static str, &'static str, String)> {
    let networks = Some(args.allow_deliveries.join(",")).filter(|networks| !networks.is_empty());
    networks
        .map(|networks| ("deliveries.allow", "--allow-deliveries", networks))
        .into_iter()
        .collect()
}

/// What an operator wants to hear. A store that fails is told to clients as well, and may be well
/// again before anybody has read it: the gateway goes on.
fn tell(app: &App, notice: &Notice) {
    if let Err(fault) = super::solve::say(app, notice) {
        app.out.fault(&fault);
    }
}

fn how(args: &Args, tls: Option<Tls>) -> deadletter_gateway::Settings {
    deadletter_gateway::Settings {
        allowed_hosts: args.allow_host.clone(),
        deadline_ms: args.deadline,
        submit_wait: Duration::from_millis(args.submit_wait.unsigned_abs()),
        fold_ms: args.fold_window,
        capacity: args.capacity,
        header_acao: args.header_acao,
        tls,
        ..deadletter_gateway::Settings::new(args.listen)
    }
}

/// What scripts call it by: a certificate that was given is good for names, not for addresses.
fn base_url(args: &Args, address: SocketAddr) -> String {
    match args.allow_host.first().filter(|_| args.tls.is_given()) {
        Some(name) => format!("https://{name}:{}", address.port()),
        None if args.tls.is_on() => format!("https://{address}"),
        None => format!("http://{address}"),
    }
}

/// What a clock that runs faster does to clients, whose own does not.
fn hurried(speed: f64, deadline_ms: i64) -> String {
    let deadline = render::duration(deadline_ms);
    let by_theirs = render::duration((deadline_ms as f64 / speed) as i64);
    format!(
        "{TIME_SCALE_VARIABLE}={speed}: time runs {speed} times as fast here, so a client's deadline \
         of {deadline} passes after {by_theirs} by its own clock; unset it for scripts that wait as usual"
    )
}

/// Where to point a script, and what stands behind it.
fn announce(
    app: &App,
    settings: &Settings,
    keys: &[IssuedKey],
    url: &str,
    trust: Option<&tls::Trust>,
) -> Result<()> {
    if app.global.json {
        return app.out.json(&json!({
            "url": url,
            "submit_endpoint": format!("{url}/in.php"),
            "result_endpoint": format!("{url}/res.php"),
            "store": settings.shown_store,
            "upstream": settings.submit_endpoint,
            "authority": trust.map(|trust| &trust.certificate),
            "authority_bundle": trust.map(|trust| &trust.bundle),
            "accepts": if keys.is_empty() { "account_key" } else { "issued_keys" },
        }));
    }
    app.out.say(&format!("upstream  {}, account {}", settings.submit_endpoint, settings.account));
    app.out.say(&format!("store     {}", settings.shown_store));
    app.out.say(&format!("key       {}", accepted(settings, keys)));
    if let Some([python, node]) = trust.map(tls::Trust::lines) {
        app.out
            .say("clients must trust the local authority; in Python and in Node by these lines:");
        app.out.say(&python);
        app.out.say(&node);
    }
    app.out.say("point scripts at this base URL (in.php and res.php are below it):");
    app.out.data(url)
}

/// Which keys are let in, by their last characters.
fn accepted(settings: &Settings, keys: &[IssuedKey]) -> String {
    if keys.is_empty() {
        let key = settings.key.as_ref().map(|key| masked(key.expose_secret())).unwrap_or_default();
        return format!("{key}: clients go on using the account's own");
    }
    let valid = || keys.iter().filter(|key| key.is_valid());
    let named = |key: &IssuedKey| format!("{} of {}", super::key::shown(key), key.name);
    let mut shown: Vec<_> = valid().take(SHOWN_KEYS).map(named).collect();
    match valid().count().saturating_sub(SHOWN_KEYS) {
        0 if shown.is_empty() => {
            return "none is valid, so nobody is let in: `deadletter key add NAME` issues one"
                .to_owned();
        }
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    format!("{}; the account's own is not accepted", shown.join(", "))
}

fn refused(error: ServeError) -> Fault {
    match error {
        ServeError::Listen { address, source } => {
            Fault::failed(format!("cannot listen on {address}"))
                .because(source)
                .fix("name another address with --listen, or stop the program that listens there")
        }
        ServeError::Open(address) => Fault::usage(format!(
            "{address} can be reached from other machines, and anybody there could spend your threads"
        ))
        .fix("issue a key with `deadletter key add NAME`, or listen on 127.0.0.1"),
        error @ ServeError::Keys(_) => {
            Fault::failed("the issued keys are not known").because(error)
        }
    }
}

/// A short time, down to none.
fn wait_ms(text: &str) -> Result<i64, String> {
    let most = i64::try_from(SUBMIT_WAIT_MAX.as_millis()).unwrap_or(i64::MAX);
    match text {
        "0" | "0s" => Ok(0),
        text => render::duration_ms(text).and_then(|ms| {
            if ms <= most { Ok(ms) } else { Err("clients give up after 5s: at most 4s".to_owned()) }
        }),
    }
}
