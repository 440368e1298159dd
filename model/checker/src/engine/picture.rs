//! A run as a picture: a line for each host, downward in time, and what each step did to them.

use std::fmt::Write as _;

use super::{Model, plain::Plain};

/// From one host's line to the next, in pixels.
const HOST_WIDTH: usize = 90;
/// From one step to the next.
const STEP_HEIGHT: usize = 22;
/// From the left edge to the first line, and from the upper one to the names.
const MARGIN: usize = 40;
/// What a letter of the small print takes at most.
const LETTER_WIDTH: usize = 8;
/// So many letters of a line are shown.
const LINE_MAX: usize = 90;

/// A step of a run.
struct Step {
    /// What it is, in a line.
    line: String,
    /// What happens in it.
    story: String,
    /// From whose line to whose a message arrives.
    arrow: Option<(usize, usize)>,
    /// Whose lines it marks.
    marks: Vec<usize>,
    /// How they are marked.
    kind: Kind,
}

/// What a step is to a run.
#[derive(Clone, Copy)]
enum Kind {
    /// What a sound system does.
    Sound,
    /// What a healed one would not do: a crash, a cut link, a client that comes back.
    Fault,
    /// It breaks a rule.
    Broken,
}

impl Kind {
    fn colour(self) -> &'static str {
        match self {
            Self::Sound => "#4a90d9",
            Self::Fault => "#e69f00",
            Self::Broken => "#d33333",
        }
    }
}

/// The picture of a run from the initial state, as SVG; hovering over a step tells its story. No run is no picture.
pub(super) fn svg<M: Model>(model: &M, actions: &[M::Action]) -> Option<String> {
    let mut state = Plain::initial(model);
    let hosts: Vec<usize> = (0..state.parts.len()).filter(|slot| model.is_host(*slot)).collect();
    let steps: Vec<_> = actions.iter().map(|action| step(model, &hosts, &mut state, action)).collect();
    (!steps.is_empty())
        .then(|| draw(&hosts.iter().map(|slot| model.slot_name(*slot)).collect::<Vec<_>>(), &steps))
}

/// Carries out a step, and tells it.
fn step<M: Model>(model: &M, hosts: &[usize], state: &mut Plain<M>, action: &M::Action) -> Step {
    let before = state.parts.clone();
    let story = state.step_narrated(model, action);
    let line_of = |slot: usize| hosts.iter().position(|host| *host == slot);
    let arrow = model.carries(action).and_then(|(from, to)| Some((line_of(from)?, line_of(to)?)));
    let changed = hosts.iter().enumerate().filter(|(_, slot)| before[**slot] != state.parts[**slot]);
    let mut marks: Vec<_> = changed.map(|(line, _)| line).collect();
    // Whoever hears what is nothing to it heard it all the same.
    marks.extend(arrow.map(|(_, to)| to).filter(|to| !marks.contains(to)));
    let kind = match &state.broken {
        Some(_) => Kind::Broken,
        None if model.is_fault_free(action) => Kind::Sound,
        None => Kind::Fault,
    };
    // Of a message the story also tells what it says.
    let read = story.first().filter(|line| arrow.is_some() && line.contains(" reads "));
    let line = shortened(read.unwrap_or(&model.describe(action)));
    let broken = state.broken.as_ref().map(|broken| format!(": breaks {}", broken.rule));
    Step { line: line + &broken.unwrap_or_default(), story: story.join("\n"), arrow, marks, kind }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_MAX) {
        Some((end, _)) => line[..end].to_owned() + "…",
        None => line.to_owned(),
    }
}

fn draw(hosts: &[String], steps: &[Step]) -> String {
    let across = |host: usize| MARGIN + host * HOST_WIDTH;
    let down = |number: usize| MARGIN + (number + 1) * STEP_HEIGHT;
    let text_at = across(hosts.len()) - HOST_WIDTH / 2;
    let longest = steps.iter().map(|step| step.line.chars().count()).max().unwrap_or_default();
    let (width, height) = (text_at + longest * LETTER_WIDTH, down(steps.len()));
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-size='13'>\
         <defs><marker id='arrow' class='svg-event-shape' markerWidth='8' markerHeight='8' refX='11' refY='4' \
         orient='auto'><polygon points='0 0, 8 4, 0 8'/></marker></defs>\n"
    );
    for (host, name) in hosts.iter().enumerate() {
        let x = across(host);
        let _ = writeln!(
            out,
            "<text class='svg-actor-label' x='{x}' y='{}' text-anchor='middle'>{}</text>\
             <line class='svg-actor-timeline' x1='{x}' x2='{x}' y1='{MARGIN}' y2='{height}'/>",
            MARGIN - STEP_HEIGHT / 2,
            escaped(name)
        );
    }
    for (number, step) in steps.iter().enumerate() {
        let y = down(number);
        let _ = write!(out, "<g><title>{}</title>", escaped(&step.story));
        if let Some((from, to)) = step.arrow {
            let (x1, x2) = (across(from), across(to));
            let _ = write!(
                out,
                "<line class='svg-event-line' x1='{x1}' x2='{x2}' y1='{y}' y2='{y}' marker-end='url(#arrow)'/>"
            );
        }
        for mark in &step.marks {
            let _ =
                write!(out, "<circle cx='{}' cy='{y}' r='5' fill='{}'/>", across(*mark), step.kind.colour());
        }
        let _ = writeln!(
            out,
            "<text class='svg-event-label' x='{text_at}' y='{}'>{}</text></g>",
            y + 4,
            escaped(&step.line)
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_its_marks_its_arrow_and_its_words() {
        let step = Step {
            line: "server 2 reads <x> & y".to_owned(),
            story: "told".to_owned(),
            arrow: Some((0, 1)),
            marks: vec![1],
            kind: Kind::Fault,
        };
        let drawn = draw(&["server 1".to_owned(), "server 2".to_owned()], &[step]);
        let has = |what: &str| assert!(drawn.contains(what), "no {what} in\n{drawn}");
        has("<text class='svg-actor-label' x='130' y='29' text-anchor='middle'>server 2</text>");
        has("<line class='svg-event-line' x1='40' x2='130' y1='62' y2='62' marker-end='url(#arrow)'/>");
        has("<circle cx='130' cy='62' r='5' fill='#e69f00'/>");
        has(">server 2 reads &lt;x&gt; &amp; y</text></g>\n</svg>");
        has("<title>told</title>");
    }
}
