//! Circuit breakers: limits are exact across workers, waiters are served, what is refused is said and counted.

mod exact;
mod load;
mod refusal;
mod waiting;
