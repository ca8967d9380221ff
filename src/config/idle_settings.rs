//! Settings that have no effect at the level that runs. They are allowed, since several builds may
//! share a file. `relay serve` warns of them.

use crate::config::sections::{BreakerSettings, RetrySettings};
use crate::config::settings::Config;
use crate::model::Level;

impl Config {
    /// One line for each such setting. None at level off, where nothing is delivered at all.
    pub(crate) fn idle_settings(&self) -> Vec<String> {
        let level = self.level();
        if !matches!(level, Level::Simulated | Level::Http) {
            return Vec::new();
        }
        let defaults = &self.delivery.defaults;
        let mut keys = Vec::new();
        let mut add = |section: &str, settings: [(&str, bool); 5]| {
            let idle = settings.into_iter().filter(|(_, is_idle)| *is_idle);
            keys.extend(idle.map(|(key, _)| format!("{section}.{key}")));
        };
        add(
            "delivery.defaults",
            [
                ("rate_limit", defaults.rate_limit.is_some()),
                ("concurrency", defaults.concurrency.is_some()),
                ("retry", is_idle(&defaults.retry, level)),
                ("breaker", defaults.breaker != BreakerSettings::default()),
                ("secrets", false),
            ],
        );
        for (name, to) in &self.destinations {
            add(
                &format!("destinations.{name}"),
                [
                    ("rate_limit", to.rate_limit.is_some()),
                    ("concurrency", to.concurrency.is_some()),
                    ("retry", is_idle(&to.retry, level)),
                    ("breaker", to.breaker != BreakerSettings::default()),
                    ("secrets", !to.secrets.is_empty()),
                ],
            );
        }
        let line = |key| {
            format!(
                "{key} has no effect at delivery.level = \"{level}\": it wants \"{}\"",
                Level::Durable
            )
        };
        keys.into_iter().map(line).collect()
    }
}

/// Whether a part of the settings has no effect. Level http spreads its own waits by the jitter.
fn is_idle(retry: &RetrySettings, level: Level) -> bool {
    let has_waits = retry.schedule.is_some() || retry.base.is_some();
    has_waits || (retry.jitter.is_some() && level == Level::Simulated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the lines for a file at a level.
    fn idle(level: &str, text: &str) -> Vec<String> {
        let text = format!("[delivery]\nlevel = '{level}'\n{text}");
        let config: Config = toml::from_str(&text).expect(&text);
        let lines = config.idle_settings();
        let keys = lines
            .iter()
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        keys.collect()
    }

    #[test]
    fn each_setting_of_level_durable_is_idle_below_it() {
        for setting in [
            "rate_limit = { per_second = 1, burst = 1 }",
            "concurrency = 1",
            "retry = { schedule = ['1s'] }",
            "retry = { base = '1s' }",
            "retry = { base = '1s', attempts = 5 }",
            "breaker = { failures = 3 }",
            "breaker = { enabled = false }",
        ] {
            let key = setting.split(' ').next().expect("a key");
            for section in ["destinations.d", "delivery.defaults"] {
                let url = "[destinations.d]\nurl = 'https://x.example'\n";
                let text = match section {
                    "destinations.d" => format!("{url}{setting}"),
                    _ => format!("[{section}]\n{setting}\n{url}"),
                };
                let expected = [format!("{section}.{key}")];
                assert_eq!(idle("simulated", &text), expected, "{text}");
                assert_eq!(idle("http", &text), expected, "{text}");
                assert_eq!(idle("durable", &text), [""; 0], "{text}");
                assert_eq!(idle("off", &text), [""; 0], "{text}");
            }
        }
    }

    #[test]
    fn secrets_are_idle_where_nothing_is_signed() {
        let text = "[destinations.d]\nurl = 'https://x.example'\nsecrets = ['whsec_x']";
        assert_eq!(idle("simulated", text), ["destinations.d.secrets"]);
        assert_eq!(idle("durable", text), [""; 0]);
    }

    #[test]
    fn the_jitter_is_idle_where_nothing_is_repeated() {
        let text = "[delivery.defaults]\nretry = { jitter = 0.5 }";
        assert_eq!(idle("simulated", text), ["delivery.defaults.retry"]);
        assert_eq!(idle("http", text), [""; 0]);
    }
}
