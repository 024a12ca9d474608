//! What is the same in two runs of one page.

/// The block of a timeline begins so.
pub(crate) const TIMELINE: &str = "```timeline";

/// The page without what differs from run to run: how long things took, and which of two machines was the
/// first to do something.
pub(crate) fn compared(page: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut timeline: Option<Vec<String>> = None;
    for line in page.lines() {
        let line = without_times(line);
        match &mut timeline {
            None => {
                if line == TIMELINE {
                    timeline = Some(Vec::new());
                }
                lines.push(line);
            }
            Some(_) if line == "```" => {
                let mut events = timeline.take().unwrap_or_default();
                // A stable order: each machine's own events stay as they were.
                events.sort_by_key(|event| event.contains(" cloud "));
                lines.extend(events);
                lines.push(line);
            }
            Some(events) => events.push(line),
        }
    }
    lines.join("\n")
}

/// Puts `#` in the place of each number that seconds or milliseconds follow, and of the blanks before it.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let unit = word.trim_end_matches([',', ';', '.']);
        let is_number = |word: &String| word.parse::<f64>().is_ok();
        if matches!(unit, "s" | "ms") && words.last().is_some_and(is_number) {
            words.pop();
            while words.last().is_some_and(String::is_empty) {
                words.pop();
            }
            words.push("#".to_owned());
        }
        words.push(word.to_owned());
    }
    words.join(" ")
}
