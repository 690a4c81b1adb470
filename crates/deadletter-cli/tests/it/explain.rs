//! `explain`: what words mean, for people and programs; and who points there.

use crate::{
    bench::Bench,
    upstream::{Scene, json_lines, lines},
};
use deadletter_sim::{Fault, Phase, Rule, Scenario};

#[test]
fn a_word_is_explained_with_the_policy_of_the_configuration() {
    let bench = Bench::new();
    let told = |config: &str| {
        bench.write("deadletter.toml", config);
        let ran = bench.run(&["explain", "error_server_error"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let page = json_lines(&ran.stdout).remove(0);
        assert_eq!((&page["class"], &page["kind"]), (&"transient".into(), &"code".into()));
        page["done"][0]["what"].as_str().expect("words").to_owned()
    };
    assert!(told("").contains("again up to 3 times, after 10 s to 11 s"), "{}", told(""));
    assert!(told("[policy]\nfirst_submits = 2\n").contains("again once"));
    let all = json_lines(&bench.run(&["explain"]).stdout);
    let kinds = |kind: &str| all.iter().filter(|page| page["kind"] == kind).count();
    assert_eq!((kinds("class"), kinds("reason")), (9, 9));
    assert!(kinds("code") > 60);
    let both = json_lines(&bench.run(&["explain", "permanent"]).stdout);
    assert_eq!(both.len(), 2, "a class and a reason have this name");
}

#[test]
fn a_redrive_is_told_to_ask_for_a_paid_id_first_where_it_does() {
    let bench = Bench::new();
    let redrive = |word: &str| {
        let page = json_lines(&bench.run(&["explain", word]).stdout).remove(0);
        let done = page["done"].as_array().expect("a list").clone();
        let told = done.iter().find(|it| it["when"] == "a redrive").expect("it is told");
        told["what"].as_str().expect("words").to_owned()
    };
    for resumed in ["TIMEOUT", "DEADLINE", "attempts_exhausted"] {
        let told = redrive(resumed);
        assert!(told.starts_with("Asks again for the paid id"), "{resumed}: {told}");
        assert!(told.ends_with("Submits it again."), "{resumed}: {told}");
    }
    assert_eq!(redrive("ERROR_CAPTCHA_UNSOLVABLE"), "Submits it again.");
    assert!(redrive("ERROR_GOOGLEKEY").starts_with("Leaves it out"));
}

#[test]
fn a_row_whose_request_the_store_lost_is_sent_again_as_the_advice_says() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll);
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.bench.write("deadletter.toml", "[policy]\nfirst_submits = 1\n");
    scene.rows("tasks.csv", "6Le-lost", 1);
    assert_eq!(scene.run(&["run", "tasks.csv"]).code, 3);
    let conn = rusqlite::Connection::open(scene.bench.path("tasks.db")).expect("a database");
    conn.execute("DELETE FROM requests", []).expect("deleted");
    drop(conn);
    assert_eq!(scene.run(&["redrive", "--where", "state:dead", "--force", "--yes"]).code, 3);
    let dead = lines(&scene.run(&["list", "cause:REQUEST_MISSING"])).remove(0);
    let id = dead["id"].to_string();
    let shown = lines(&scene.run(&["show", &id])).remove(0);
    assert!(shown["task"]["idempotency_key"].is_string(), "it says which row it was: {shown}");
    let page = json_lines(&scene.run(&["explain", "REQUEST_MISSING"]).stdout).remove(0);
    let advice = page["advice"].as_str().expect("words");
    assert!(advice.contains("purge the task") && advice.contains("--resume"), "{advice}");
    scene.simulator.clear_rules();
    assert_eq!(scene.run(&["purge", &id, "--confirm", "1"]).code, 0);
    let again = scene.run(&["run", "tasks.csv", "--resume"]);
    assert_eq!((again.code, lines(&again).len()), (0, 1), "{}", again.stderr);
}

#[test]
fn an_unknown_code_has_its_nearest_and_the_way_to_tell_of_it() {
    let bench = Bench::new();
    let ran = bench.run(&["explain", "ERROR_CAPCHA_UNSOLVABLE"]);
    assert_eq!(ran.code, 1);
    assert_eq!(json_lines(&ran.stdout)[0]["nearest"][0], "ERROR_CAPTCHA_UNSOLVABLE");
    assert!(ran.stderr.contains("did you mean ERROR_CAPTCHA_UNSOLVABLE"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[codes] ERROR_CAPCHA_UNSOLVABLE = "), "{}", ran.stderr);
    bench.write("deadletter.toml", "[codes]\nERROR_CAPCHA_UNSOLVABLE = \"stale\"\n");
    assert_eq!(bench.run(&["explain", "ERROR_CAPCHA_UNSOLVABLE"]).code, 0);
}

#[test]
fn a_run_points_to_the_explanation_of_what_most_died_of() {
    let unsolvable = Rule::new(Fault::Unsolvable).on(Phase::Poll).sitekey("6Le-dead");
    let scene = Scene::new(Scenario::default().solve_ms(5_000).rule(unsolvable));
    scene.rows("tasks.csv", "6Le-dead", 2);
    let ran = scene.run(&["run", "tasks.csv"]);
    assert_eq!((ran.code, lines(&ran).len()), (3, 2));
    let hint =
        "2 died of ERROR_CAPTCHA_UNSOLVABLE; what it means: deadletter explain ERROR_CAPTCHA";
    assert_eq!(ran.stderr.matches(hint).count(), 1, "{}", ran.stderr);
}
