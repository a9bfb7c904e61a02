//! Outlier detection against a model written from the rules, on random histories.
//!
//! A million of them, optimised: `cargo test -p weft-proxy-core --release --test outlier_million`

mod diary;
mod history;

#[test]
fn the_detector_agrees_with_its_model_on_random_histories() {
    history::check(0..30_000);
}
