//! What the family says of a task that ended: the JSON of getTaskResult.
//!
//! ```text
//! answer  {"errorId":0,"status":"ready","solution":{..},"cost":"0","ip":..,"createTime":..,..}
//! error   {"errorId":1,"errorCode":"ERROR_X","errorDescription":".."}
//! ```

use super::solution;
use crate::provider::captchaai::codes;
use deadletter_core::{Answer, Task, TaskId};
use serde::Serialize;
use serde_json::value::RawValue;
use std::net::IpAddr;

/// Threads are paid for, single answers are not. Text, as the family has it.
const COST: &str = "0";

/// A task's end, and to whom it is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its answer, or the code of what it died of, in in.php's words.
    pub end: Result<&'a Answer, &'a str>,
    /// Name the task: for those who did not ask for it by its id.
    pub names_task: bool,
    /// Whose question it answers.
    pub ip: Option<IpAddr>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    error_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    status: &'static str,
    solution: Box<RawValue>,
    cost: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    /// In seconds since 1970, as the next.
    create_time: i64,
    end_time: i64,
    solve_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    error_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    error_code: &'a str,
    error_description: &'a str,
}

/// The family's JSON of an end.
#[must_use]
pub fn told(told: &Told<'_>) -> String {
    let Told { task, end, names_task, ip } = *told;
    let task_id = names_task.then_some(task.id);
    let seconds = |ms: i64| ms.div_euclid(1_000);
    match end {
        Ok(answer) => json(&Ready {
            error_id: 0,
            task_id,
            status: "ready",
            solution: solution(&task.dimensions.method, answer),
            cost: COST,
            ip,
            create_time: seconds(task.created_at.0),
            end_time: seconds(answer.solved_at.0.max(task.created_at.0)),
            solve_count: task.counters.submits,
        }),
        Err(code) => failed(code, task_id),
    }
}

/// The family's JSON of an error, by in.php's code.
#[must_use]
pub fn refused(code: &str) -> String {
    failed(code, None)
}

fn failed(code: &str, task_id: Option<TaskId>) -> String {
    let code = in_the_familys_words(code);
    let meaning = codes::find(code).map_or("An error of the upstream service.", |row| row.meaning);
    json(&Failed { error_id: 1, task_id, error_code: code, error_description: meaning })
}

fn json(said: &impl Serialize) -> String {
    serde_json::to_string(said).expect("texts, numbers and what was JSON already")
}

/// The family's code for one of in.php's.
fn in_the_familys_words(code: &str) -> &str {
    match code {
        "ERROR_WRONG_USER_KEY" => "ERROR_KEY_DOES_NOT_EXIST",
        "ERROR_WRONG_CAPTCHA_ID" | "ERROR_WRONG_ID_FORMAT" => "ERROR_NO_SUCH_CAPCHA_ID",
        "ERROR_GOOGLEKEY" | "ERROR_WRONG_GOOGLEKEY" | "ERROR_SITEKEY" => {
            "ERROR_RECAPTCHA_INVALID_SITEKEY"
        }
        // Of the words that every client knows, the one that says to try again.
        "ERROR_SERVER_ERROR" => "ERROR_NO_SLOT_AVAILABLE",
        code => code,
    }
}
