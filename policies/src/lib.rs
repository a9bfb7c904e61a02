//! What a user may say: traffic objects, their validation, precedence and defaults.
