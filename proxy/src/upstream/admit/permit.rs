//! Permits that give themselves back.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use weft_proxy_core::limit::Permit;

use super::admission::Admission;

/// One open connection, from before it is dialled until after it is closed.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    /// `None` once it has been given back.
    permit: Option<Permit>,
}

impl ConnectionPermit {
    pub(super) fn new(admission: Arc<Admission>, permit: Permit) -> Self {
        Self {
            admission,
            permit: Some(permit),
        }
    }

    /// The bare permit, for another holder.
    pub(super) fn into_inner(mut self) -> Option<Permit> {
        self.permit.take()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.admission.give_back(permit);
        }
    }
}

/// One request that waits for a connection.
#[derive(Debug)]
pub(crate) struct PendingPermit<'a> {
    admission: &'a Admission,
    permit: Option<Permit>,
}

impl<'a> PendingPermit<'a> {
    pub(super) fn new(admission: &'a Admission, permit: Permit) -> Self {
        Self {
            admission,
            permit: Some(permit),
        }
    }
}

impl Drop for PendingPermit<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.admission.end_pending(permit);
        }
    }
}

/// One connection that is being opened.
#[derive(Debug)]
pub(crate) struct DiallingGuard<'a>(&'a AtomicU32);

impl<'a> DiallingGuard<'a> {
    pub(super) fn new(dialling: &'a AtomicU32) -> Self {
        dialling.fetch_add(1, Relaxed);
        Self(dialling)
    }
}

impl Drop for DiallingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One retry in flight.
#[derive(Debug)]
pub(crate) struct RetryPermit {
    admission: Arc<Admission>,
    permit: Option<Permit>,
}

impl RetryPermit {
    pub(super) fn new(admission: Arc<Admission>, permit: Permit) -> Self {
        Self {
            admission,
            permit: Some(permit),
        }
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.admission.end_retry(permit);
        }
    }
}
