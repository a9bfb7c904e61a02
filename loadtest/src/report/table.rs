use super::Summary;
pub(crate) fn render(summary: &Summary) -> String {
    super::json::render(summary)
}
