//! `/metrics`: what it tells is what is documented, and nothing of it is a client's own word.

use crate::rig::{KEY, World};
use deadletter_sim::Scenario;
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
};

/// The page of metrics, line by line.
async fn page(world: &World) -> Vec<String> {
    let reply = world.get("/metrics").await;
    assert!(reply.head.contains("text/plain; version=0.0.4"), "{}", reply.head);
    reply.body.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_name_is_told_and_every_told_name_is_documented() {
    let document = include_str!("../../../../docs/metrics.md");
    let documented: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .collect();
    let world = World::start().await;
    let page = page(&world).await;
    let told: BTreeSet<_> =
        page.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(documented, told);
    assert!(told.iter().all(|name| name.starts_with("deadletter_")));
    for line in page.iter().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(told.contains(name) || base.is_some_and(|name| told.contains(name)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_and_label_that_the_dashboard_and_the_alerts_ask_for_is_told() {
    let asked = [
        include_str!("../../../../deploy/alerts.yml"),
        include_str!("../../../../deploy/grafana.json"),
    ];
    let world = World::start().await;
    let page = page(&world).await;
    for text in asked {
        let names: Vec<_> = text.split("deadletter_").skip(1).collect();
        assert!(names.len() > 7, "it asks for something");
        for rest in names {
            let (name, rest) =
                rest.split_at(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap());
            let told = |line: &&String| {
                line.starts_with(&format!("deadletter_{name}{{"))
                    || line.starts_with(&format!("deadletter_{name} "))
            };
            let series: Vec<_> = page.iter().filter(told).collect();
            assert!(!series.is_empty(), "deadletter_{name} is not told");
            // What scrapes it adds the label `job` itself.
            let chosen = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            for label in chosen.into_iter().flat_map(|labels| labels.split(',')) {
                let label = label.replace("\\\"", "\"");
                let is_told = series.iter().any(|line| line.contains(&label));
                assert!(label.starts_with("job=") || is_told, "deadletter_{name} has no {label}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_and_what_clients_chose_is_no_label() {
    let world = World::start().await;
    let id = world.submit().await;
    world.verdict(&id, "").await;
    world.get(&format!("/res.php?key={KEY}&action=get&id=12a")).await;
    world.get(&format!("/{KEY}?key={KEY}")).await;
    let before = page(&world).await;
    for line in [
        "deadletter_requests_total{path=\"in.php\",word=\"accepted\"} 1",
        "deadletter_requests_total{path=\"res.php\",word=\"answer\"} 1",
        "deadletter_requests_total{path=\"res.php\",word=\"error\"} 1",
        "deadletter_request_seconds_count{path=\"in.php\"} 1",
        "deadletter_tasks{state=\"solved\"} 1",
        "deadletter_tasks_accepted_total 1",
        "deadletter_breaker{account=\"main\",phase=\"closed\"} 1",
        "deadletter_store_up 1",
    ] {
        assert!(before.iter().any(|told| told == line), "{line} is not in\n{}", before.join("\n"));
    }
    let whole = before.join("\n");
    assert!(!whole.contains(KEY) && !whole.contains(&id) && !whole.contains("6Le-"), "{whole}");
    // However many paths are asked for, there are no more series.
    for n in 0..50 {
        world.get(&format!("/{n}/in.php")).await;
    }
    assert_eq!(page(&world).await.len(), before.len());
}

/// The value of a series without labels.
async fn value(world: &World, name: &str) -> u64 {
    let page = page(world).await;
    let line = page.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{}", page.join("\n"))).parse().expect("a number")
}

/// A connection from another address of this machine.
async fn connected(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    socket.connect(world.address()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_and_so_are_those_beyond_an_addresss_share() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.connections_of_one = 2;
        settings.limits.head = Duration::from_secs(60);
    })
    .await;
    let (_first, _second) = (connected(&world).await, connected(&world).await);
    let mut third = connected(&world).await;
    assert_eq!(third.read(&mut [0]).await.unwrap_or(0), 0, "it is closed at once");
    assert_eq!(value(&world, "deadletter_connections_refused_total").await, 1);
    // The two that are held; the page's own may not be counted yet, one that has ended still be.
    let is_counted = |page: &str| {
        page.contains("\ndeadletter_connections 2\n")
            || page.contains("\ndeadletter_connections 3\n")
    };
    world.ask_until("/metrics", is_counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_taken_is_counted() {
    let world = World::with(Scenario::named("happy").unwrap(), |settings| {
        settings.limits.body_bytes = 1_000;
    })
    .await;
    assert_eq!(value(&world, "deadletter_bodies_refused_total").await, 0);
    assert_eq!(world.post("/in.php", "", &vec![b'x'; 1_001]).await.status, 413);
    assert_eq!(value(&world, "deadletter_bodies_refused_total").await, 1);
}
