//! An account at a service that speaks createTask.

use crate::bench::{Ran, ran};
use crate::upstream::{GOOD, Scene, lines};
use deadletter_sim::Scenario;

struct Family(Scene);

impl Family {
    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.0.command(args);
        command
            .env_remove("CAPTCHAAI_SUBMIT_ENDPOINT")
            .env_remove("CAPTCHAAI_RESULT_ENDPOINT")
            .env("DEADLETTER_PROVIDER", "createtask")
            .env("DEADLETTER_ENDPOINT", self.0.simulator.base_url());
        crate::upstream::checked(ran(command))
    }
}

fn happy() -> Family {
    Family(Scene::new(Scenario::default().solve_ms(10_000)))
}

#[test]
fn a_batch_is_solved_there_and_the_doctor_finds_it_well() {
    let family = happy();
    family.0.rows("tasks.csv", GOOD, 2);
    let ran = family.run(&["run", "tasks.csv"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(family.0.paid(), 2);
    let ran = family.run(&["doctor"]);
    let checks = lines(&ran);
    let upstream = checks.iter().find(|check| check["check"] == "upstream").expect("it is made");
    assert_eq!(upstream["status"], "ok", "{upstream}");
    assert!(upstream["detail"].as_str().expect("text").contains("12.345"), "{upstream}");
    let log = family.0.simulator.log();
    assert!(log.entries().all(|entry| !entry.path.ends_with(".php")), "another protocol");
}

#[test]
fn settings_name_it_and_codes_mean_what_they_mean_there() {
    let family = happy();
    let shown = lines(&family.run(&["config", "show"]));
    let of = |name: &str| shown.iter().find(|row| row["setting"] == name).expect("it is shown");
    assert_eq!(of("account.provider")["value"], "createtask");
    assert_eq!(of("account.endpoint")["value"], family.0.simulator.base_url());
    assert_eq!(of("account.endpoint")["from"], "DEADLETTER_ENDPOINT");
    assert_eq!(family.run(&["config", "validate"]).code, 0);
    let told = family.run(&["explain", "ERROR_ZERO_BALANCE", "--json"]).stdout;
    assert!(told.contains("\"account\""), "{told}");
    assert_eq!(family.run(&["explain", "ERROR_TASK_NOT_SUPPORTED"]).code, 0);
    let mut command = family.0.command(&["config", "validate"]);
    let ran = ran({
        command.env("DEADLETTER_PROVIDER", "createtask");
        command
    });
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("account.endpoint"), "{}", ran.stderr);
}
