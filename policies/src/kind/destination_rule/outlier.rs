//! Ejection of endpoints that fail.

use std::time::Duration;

use crate::codes;
use crate::decode::{Field, Fields, Span};

/// `outlierDetection`. An empty block is in force, with all defaults (`defaults`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OutlierDetection {
    /// Failures to connect, and timeouts, are counted apart.
    pub split_external_local_origin_errors: bool,
    /// Local failures in a row; unset: 5; only with the split.
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503 and 504 in a row; unset or 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// 5xx in a row; unset: 5; 0: off.
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between sweeps; unset: 10 s.
    pub interval: Option<Duration>,
    /// Ejection time per ejection so far; unset: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// Ejected endpoints in percent of all, at most; unset (or 0): 10.
    pub max_ejection_percent: Option<u32>,
    /// Below this share of healthy endpoints all are used; unset: 0, never.
    pub min_health_percent: Option<u32>,
    /// Statuses that count as errors; empty: 500..=599.
    pub http_error_codes: Vec<u16>,
}

impl OutlierDetection {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mut outlier = Self {
            split_external_local_origin_errors: fields.flag("splitExternalLocalOriginErrors"),
            consecutive_local_origin_failures: fields.count("consecutiveLocalOriginFailures"),
            consecutive_gateway_errors: fields.count("consecutiveGatewayErrors"),
            consecutive_5xx_errors: fields.count("consecutive5xxErrors"),
            http_error_codes: fields.list("outlierDetectionHttpErrorCodes", |f| {
                u16::try_from(f.u32(100..=599)?).ok()
            }),
            ..Self::read_times(&mut fields)
        };
        let mut errors = fields.old("consecutiveErrors");
        if let Some(old) = fields.old("http")
            && let Some(mut inner) = old.fields()
        {
            old.warn(
                codes::OLD_FIELD,
                "is a level of old Istio; its fields are taken one level up",
                "move them up",
            );
            errors = errors.or(inner.old("consecutiveErrors"));
            let times = Self::read_times(&mut inner);
            outlier.interval = outlier.interval.or(times.interval);
            outlier.base_ejection_time = outlier.base_ejection_time.or(times.base_ejection_time);
            outlier.max_ejection_percent = outlier.max_ejection_percent.or(times.max_ejection_percent);
            inner.finish();
        }
        if let Some(errors) = errors {
            outlier.translate_errors(&errors);
        }
        if outlier.consecutive_local_origin_failures.is_some_and(|n| n > 0)
            && !outlier.split_external_local_origin_errors
        {
            field.error(
                "counts local failures without telling them apart",
                "set `splitExternalLocalOriginErrors: true`",
            );
        }
        fields.finish();
        Some(outlier)
    }

    fn read_times(fields: &mut Fields<'_>) -> Self {
        Self {
            interval: fields.duration("interval", Span::Positive),
            base_ejection_time: fields.duration("baseEjectionTime", Span::Positive),
            max_ejection_percent: fields
                .field("maxEjectionPercent")
                .and_then(|f| f.u32(0..=100))
                .filter(|n| *n > 0),
            min_health_percent: fields
                .field("minHealthPercent")
                .and_then(|f| f.u32(0..=100))
                .filter(|n| *n > 0),
            ..Self::default()
        }
    }

    /// `consecutiveErrors` counted 502, 503 and 504; today's Istio ignores its value.
    fn translate_errors(&mut self, field: &Field<'_>) {
        let Some(errors) = field.u32(0..=i32::MAX as u32) else {
            return;
        };
        if self.consecutive_gateway_errors.is_none() && self.consecutive_5xx_errors.is_none() {
            self.consecutive_gateway_errors = Some(errors);
            self.consecutive_5xx_errors = Some(0);
            let problem = format!(
                "is a field of old Istio, taken as `consecutiveGatewayErrors: {errors}` and `consecutive5xxErrors: 0`"
            );
            field.warn(codes::CONSECUTIVE_ERRORS, problem, "write those");
        } else {
            let problem = "is a field of old Istio and ignored beside its successors";
            field.warn(codes::CONSECUTIVE_ERRORS, problem, "remove it");
        }
    }
}
