//! What auth counts.

use domain::AuthError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use runtime::metrics::Metrics;

/// Auth's own metrics; nobody sees them until they are registered.
#[derive(Default)]
pub(crate) struct AuthMetrics {
    passwords: Family<OutcomeLabels, Counter>,
    tokens: Family<OutcomeLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl AuthMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let family = |name, help| metrics.register(name, help, Family::default());
        Self {
            passwords: family("passwords_judged", "Passwords by what they were found to be"),
            tokens: family("tokens_judged", "Tokens by what they were found to be"),
        }
    }

    pub(crate) fn password<T>(&self, judged: &Result<T, AuthError>) {
        count(&self.passwords, judged);
    }

    pub(crate) fn token<T>(&self, judged: &Result<T, AuthError>) {
        count(&self.tokens, judged);
    }
}

fn count<T>(family: &Family<OutcomeLabels, Counter>, judged: &Result<T, AuthError>) {
    let outcome = match judged {
        Ok(_) => "good",
        Err(AuthError::Refused) => "refused",
        Err(AuthError::Unavailable(_)) => "our_trouble",
    };
    family.get_or_create(&OutcomeLabels { outcome }).inc();
}
