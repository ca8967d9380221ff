use super::*;

#[test]
fn requests_that_arrive_together_are_one_and_the_reload_comes_first() {
    let requests = ReloadRequests::default();
    for _ in 0..100 {
        requests.ask(true);
        requests.ask(false);
    }
    assert_eq!(requests.next(), Some(false));
    assert_eq!(requests.next(), Some(true));
    // One that arrives while a reload runs is done after it.
    requests.ask(false);
    assert_eq!(requests.next(), Some(false));
    requests.ask(false);
    requests.close();
    assert_eq!(requests.next(), None, "a stop begins no reload");
}
