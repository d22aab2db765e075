//! How fast videos become MP3s.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use runtime::metrics::Metrics;

/// Seconds of one conversion, from the question for the video to the stored MP3.
const SECONDS: [f64; 10] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0];
/// Seconds of audio in one second.
const TIMES_REAL_TIME: [f64; 9] = [1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1000.0, 3000.0];

/// The measurements of conversions that gave an MP3.
pub(crate) struct Speed {
    seconds: Histogram,
    times_real_time: Histogram,
}

impl Speed {
    pub(crate) fn measured_in(metrics: &Metrics) -> Self {
        Self {
            seconds: metrics.register(
                "conversion_duration_seconds",
                "From the question for the video to the stored MP3",
                Histogram::new(SECONDS),
            ),
            times_real_time: metrics.register(
                "conversion_speed",
                "Seconds of audio that became MP3 in a second of work",
                Histogram::new(TIMES_REAL_TIME),
            ),
        }
    }

    pub(crate) fn converted(&self, audio: Duration, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        self.times_real_time
            .observe(audio.as_secs_f64() / took.as_secs_f64().max(f64::EPSILON));
    }
}
