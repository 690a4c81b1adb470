//! The table of clients and scenes, as Markdown.

use crate::{client::CLIENTS, scene::SCENES, tally::Tally};

/// A line per client, a column per scene: what it lost of what was asked for.
pub(crate) fn draw(tallies: &[Tally]) -> String {
    let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
    let mut lines =
        vec![format!("| client | {} |", names.join(" | ")), "|---".repeat(names.len() + 1) + "|"];
    for client in &CLIENTS {
        let cell = |name: &&str| {
            let own = |tally: &&Tally| tally.client == client.name && tally.scene == *name;
            tallies.iter().find(own).map_or_else(|| "-".to_owned(), text)
        };
        let cells: Vec<String> = names.iter().map(cell).collect();
        lines.push(format!("| {} | {} |", client.title(), cells.join(" | ")));
    }
    lines.join("\n")
}

fn text(tally: &Tally) -> String {
    format!("{} of {}, {} paid", tally.lost(), tally.asked, tally.paid)
}
