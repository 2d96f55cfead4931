//! Why the labels of a placement are what they are, in a line.

use super::words::{span, verb};
use super::{EventTrace, PageTrace, Written};
use crate::date;

/// Fills in the labels that were written, and says why they are what they are.
pub(super) fn label(trace: &mut PageTrace, labels: &[Written]) {
    let person = match (
        trace.page.get("user_id").whole(),
        trace.page.get("session_id").whole(),
    ) {
        (Some(user), _) => Some(format!("user {user}")),
        (None, session) => session.map(|session| format!("session {session}")),
    };
    for (placement, written) in trace.placements.iter_mut().zip(labels) {
        placement.grade = written.grade;
        placement.click = written.click;
        placement.purchase = written.purchase;
        placement.matured = written.matured;
        placement.attribution.clone_from(&written.attribution);
        placement.click_lag = written.click_lag;
        placement.purchase_lag = written.purchase_lag;
        let events = || {
            let own = trace.events.iter();
            own.filter(|event| event.concerns == Some(placement.impression_id))
        };
        let said = |event: &EventTrace| format!("{}: {}", event.event_type, event.reason);
        let counted: Vec<String> = events()
            .filter(|event| event.counts_here)
            .map(|event| {
                let lag = event.credit.as_ref().map_or(0, |credit| credit.lag);
                format!("{} {} after", verb(event.event_type), span(lag))
            })
            .collect();
        let missed: Vec<String> = events()
            .filter(|event| !event.counts_here)
            .map(said)
            .collect();
        let mut why = match (counted.is_empty(), missed.is_empty(), &person) {
            (false, ..) => few(&counted),
            (true, false, _) => few(&missed),
            (true, true, Some(person)) => {
                format!("no event of {person} with item {}", placement.item_id)
            }
            (true, true, None) => {
                "the page has neither user nor session, and no event names the placement".to_owned()
            }
        };
        // What else happened to a placement with a click matters where a purchase came to nothing.
        let bought = events().find(|event| event.event_type == "purchase" && !event.counts_here);
        if let (false, false, Some(event)) = (counted.is_empty(), placement.purchase, bought) {
            why.push_str(&format!("; but {}", said(event)));
        }
        if !placement.matured {
            why.push_str(&format!(
                "; not final: windows close {}",
                date::format(placement.matures_at)
            ));
        }
        placement.why = why;
    }
}

/// The first two, and how many more there are.
fn few(reasons: &[String]) -> String {
    let mut text = reasons[..reasons.len().min(2)].join("; ");
    if reasons.len() > 2 {
        text.push_str(&format!("; and {} more", reasons.len() - 2));
    }
    text
}
