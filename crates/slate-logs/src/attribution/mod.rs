//! Which placement gets each event, and what became of each placement.
//!
//! Events are few and placements many. So events are what is held: of all placements that stream by,
//! only those are kept that some event could belong to ([`Wanted`]), and on these the rules are run
//! ([`Fates::decide`]). Every rule joins on the item, so events can be divided by a hash of their item into
//! as many passes as memory asks for; purchases that go to a seller's other items (rule 3) and
//! cancels are settled at the end.

mod credit;
mod event;
mod fates;
mod labels;
mod matcher;
mod placement;
mod wanted;

pub(crate) use credit::{Credit, Route, Rules};
pub(crate) use event::{Event, Events};
pub(crate) use fates::{Deal, End, Fate, Fates};
pub(crate) use labels::Label;
pub(crate) use matcher::Matcher;
pub(crate) use placement::Placement;
pub(crate) use wanted::Wanted;
