//! What clients lose and what is paid for, as Markdown: directly → through the gateway.

use crate::{
    client::{CLIENTS, Client},
    scene::{BAD, SCENES},
    tally::Tally,
};

/// Both halves of every run.
pub(crate) struct Table<'a> {
    pub(crate) directly: &'a [Tally],
    pub(crate) through: &'a [Tally],
}

impl Table<'_> {
    /// Lost, of how many that were asked for.
    pub(crate) fn lost(&self) -> String {
        let cell = |directly: &Tally, through: Option<&Tally>| {
            let through = through.map_or_else(|| "-".to_owned(), |tally| tally.lost().to_string());
            format!("{} of {} → {through}", directly.lost(), directly.asked)
        };
        self.draw(&SCENES.map(|scene| scene.name), cell)
    }

    /// Submits that were paid for, per answer that the client got.
    pub(crate) fn paid(&self) -> String {
        let per_answer = |tally: &Tally| match tally.solved {
            0 => format!("{} for nothing", tally.paid),
            solved => format!("{:.2}", tally.paid as f64 / solved as f64),
        };
        let cell = |directly: &Tally, through: Option<&Tally>| {
            let through = through.map_or_else(|| "-".to_owned(), per_answer);
            format!("{} → {through}", per_answer(directly))
        };
        self.draw(&BAD, cell)
    }

    /// A line per client, a column per scene.
    fn draw(&self, scenes: &[&str], cell: impl Fn(&Tally, Option<&Tally>) -> String) -> String {
        let head = format!("| client | {} |", scenes.join(" | "));
        let rule = "|---".repeat(scenes.len() + 1) + "|";
        let line = |client: &Client| {
            let cells = scenes.iter().map(|scene| {
                let own = |tally: &&Tally| tally.client == client.name && tally.scene == *scene;
                let directly = self.directly.iter().find(own);
                let Some(directly) = directly else { return "-".to_owned() };
                cell(directly, self.through.iter().find(own))
            });
            format!("| {} | {} |", client.title(), cells.collect::<Vec<_>>().join(" | "))
        };
        [head, rule].into_iter().chain(CLIENTS.iter().map(line)).collect::<Vec<_>>().join("\n")
    }
}
