//! Views, carts and purchases of an item page each.

use slate_logs::import::Format;

use super::{Case, attribute};

const EVENTS: &str = "\
event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-11-01 00:00:00 UTC,view,10,205,phones.smart,apple,489.07,7,a-b
2019-11-01 00:00:09 UTC,cart,10,205,phones.smart,apple,489.07,7,a-b
2019-11-01 00:00:10 UTC,remove_from_cart,10,205,phones.smart,apple,489.07,7,a-b
2019-11-01 00:01:00 UTC,purchase,10,205,phones.smart,apple,489.07,7,a-b
2019-11-01 00:01:00 UTC,purchase,10,205,phones.smart,apple,489.07,7,a-b
2019-11-01 00:02:00 UTC,view,11,206,,,0.5,8,c-d
2019-11-01 00:03:00 UTC,look,11,206,,,0.5,8,c-d
2019-11-01 00:04:00 UTC,purchase,12,206,,,3,8,c-d
";

#[test]
fn rees46_views_become_pages_of_one_item() {
    let case = Case::new(&[("2019-Nov.csv", EVENTS)]);
    let summary = case.import(Format::Rees46);
    assert_eq!(summary.rejects, 1);
    assert_eq!(
        case.rows("page_impression", "page_id ts user_id session_id"),
        ["1 2019-11-01T00:00:00Z 7 1", "2 2019-11-01T00:02:00Z 8 2",]
    );
    assert_eq!(
        case.rows(
            "slot_impression",
            "impression_id page_id slot item_id price"
        ),
        ["1 1 0 10 48907", "2 2 0 11 50"]
    );
    assert_eq!(
        case.rows("event", "type item_id user_id impression_id sale_total"),
        [
            "cart 10 7 - -",
            "purchase 10 7 - 48907",
            "purchase 10 7 - 48907",
            "purchase 12 8 - 300",
        ]
    );
    assert_eq!(
        case.rows("item", "item_id category brand"),
        ["10 phones.smart apple", "11 206 -", "12 206 -"]
    );
    let notes = summary.notes.join("\n");
    assert!(
        notes.contains("1 lines take something out of a cart"),
        "{notes}"
    );
    assert!(notes.contains("1 lines are alike"), "{notes}");

    let join = attribute(&case.dir.path().join("log"), true).join;
    let line = join.line("purchase");
    assert_eq!((line.attributed, line.late, line.orphan), (2, 0, 1));
    assert_eq!(join.line("cart").attributed, 1);
}

#[test]
fn rees46_files_without_their_columns_are_refused() {
    let case = Case::new(&[("events.csv", "event_time,event_type\n")]);
    let message = case.error(Format::Rees46);
    assert!(message.contains("product_id"), "{message}");
}
