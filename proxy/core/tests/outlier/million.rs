//! The histories of `main.rs`, a million of them.

mod diary;
mod history;

#[test]
fn the_detector_agrees_with_its_model_on_a_million_histories() {
    history::check(0..1_000_000);
}
