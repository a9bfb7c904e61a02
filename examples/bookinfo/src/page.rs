//! The page as HTML: no script, nothing fetched from elsewhere.

use std::fmt::Write;

use serde_json::Value;

/// What the page shows; a part that could not be had is said so in its place.
pub(crate) struct Page<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) details: Result<&'a Value, &'a str>,
    pub(crate) reviews: Result<&'a Value, &'a str>,
}

const FRAME: &str = include_str!("../page/page.html");
const STYLE: &str = include_str!("../page/style.css");
/// A five-pointed star in a square of 24.
const STAR: &str = "M12 1.8l3.1 6.5 7.1.9-5.2 4.9 1.3 7.1L12 17.7l-6.3 3.5 1.3-7.1L1.8 9.2l7.1-.9z";
/// Stars that there can be.
const STARS_MAX: u64 = 5;

pub(crate) fn render(page: &Page<'_>) -> String {
    let failed: Vec<&str> = [("details", page.details.is_err()), ("reviews", page.reviews.is_err())]
        .into_iter()
        .filter_map(|(part, failed)| failed.then_some(part))
        .collect();
    FRAME
        .replace("{style}", STYLE)
        .replace("{failed}", &failed.join(" "))
        .replace("{user}", &sign_in(page.user))
        .replace("{details}", &details(page.details))
        .replace("{reviews}", &reviews(page.reviews))
}

fn sign_in(user: Option<&str>) -> String {
    match user {
        Some(name) => format!(
            "<span class=\"who\">signed in as <b>{}</b></span><a class=\"button\" href=\"/logout\">sign out</a>",
            escape(name)
        ),
        None => "<form method=\"post\" action=\"/login\"><input name=\"username\" placeholder=\"jason\" \
                 aria-label=\"user\" maxlength=\"32\" required><button class=\"button\">sign in</button></form>"
            .to_owned(),
    }
}

fn details(details: Result<&Value, &str>) -> String {
    let book = match details {
        Ok(book) => book,
        Err(problem) => return unavailable("details", problem),
    };
    let mut out = "<dl id=\"details\">".to_owned();
    for (name, value) in book.as_object().into_iter().flatten().filter(|(name, _)| *name != "id") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Writing to a `String` cannot fail.
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(&value));
    }
    out + "</dl>"
}

fn reviews(reviews: Result<&Value, &str>) -> String {
    let said = match reviews {
        Ok(said) => said,
        Err(problem) => return unavailable("reviews", problem),
    };
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let mut out = format!(
        "<div id=\"reviews\" data-version=\"{}\" data-pod=\"{}\">",
        text(&said["version"]),
        text(&said["pod"])
    );
    for review in said["reviews"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "<article class=\"review\"><blockquote>{}</blockquote><footer><cite>{}</cite>{}</footer></article>",
            text(&review["text"]),
            text(&review["reviewer"]),
            rating(&review["rating"])
        );
    }
    let _ = write!(
        out,
        "<p class=\"served\">served by <code>{}</code></p></div>",
        text(&said["pod"])
    );
    out
}

fn rating(rating: &Value) -> String {
    let Some(stars) = rating["stars"].as_u64() else {
        return match rating["problem"].as_str() {
            Some(problem) => format!("<span class=\"missing\">no stars: {}</span>", escape(problem)),
            None => String::new(),
        };
    };
    let color = if rating["color"] == "red" { "red" } else { "black" };
    let stars = stars.min(STARS_MAX);
    let mut out = format!("<span class=\"stars {color}\" data-stars=\"{stars}\" title=\"{stars} of {STARS_MAX}\">");
    for index in 0..STARS_MAX {
        let class = if index < stars { "on" } else { "off" };
        let _ = write!(
            out,
            "<svg class=\"{class}\" viewBox=\"0 0 24 24\"><path d=\"{STAR}\"/></svg>"
        );
    }
    out + "</span>"
}

fn unavailable(part: &str, problem: &str) -> String {
    format!(
        "<p class=\"missing\" id=\"{part}\">{part} cannot be shown: {}</p>",
        escape(problem)
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Braces are places in the frame.
            '{' => out.push_str("&#123;"),
            '}' => out.push_str("&#125;"),
            other => out.push(other),
        }
    }
    out
}
