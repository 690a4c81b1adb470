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
        let both_ways = SCENES.iter().filter(|scene| scene.kill_after.is_none());
        self.lost_in(&both_ways.map(|scene| scene.name).collect::<Vec<_>>())
    }

    /// The same, where it makes a difference.
    pub(crate) fn in_short(&self) -> String {
        self.lost_in(&[&["methods"], &BAD[..]].concat())
    }

    fn lost_in(&self, scenes: &[&str]) -> String {
        let cell = |directly: &Tally, through: &Tally| {
            format!("{} of {} → {}", directly.lost(), directly.asked, through.lost())
        };
        self.draw(scenes, cell)
    }

    /// Submits that were paid for, per answer that the client got.
    pub(crate) fn paid(&self) -> String {
        let per_answer = |tally: &Tally| match tally.solved {
            0 => format!("{} for nothing", tally.paid),
            solved => format!("{:.2}", tally.paid as f64 / solved as f64),
        };
        let cell = |directly: &Tally, through: &Tally| {
            format!("{} → {}", per_answer(directly), per_answer(through))
        };
        self.draw(&BAD, cell)
    }

    /// A line per client, a column per scene.
    fn draw(&self, scenes: &[&str], cell: impl Fn(&Tally, &Tally) -> String) -> String {
        let head = format!("| client | {} |", scenes.join(" | "));
        let rule = "|---".repeat(scenes.len() + 1) + "|";
        let line = |client: &Client| {
            let cells = scenes.iter().map(|scene| {
                let own = |tally: &&Tally| tally.client == client.name && tally.scene == *scene;
                let both = self.directly.iter().find(own).zip(self.through.iter().find(own));
                both.map_or_else(|| "-".to_owned(), |(one, other)| cell(one, other))
            });
            format!("| {} | {} |", client.title(), cells.collect::<Vec<_>>().join(" | "))
        };
        [head, rule].into_iter().chain(CLIENTS.iter().map(line)).collect::<Vec<_>>().join("\n")
    }
}
