//! The files of `providers/`, compiled in.

/// A provider's file: its settings for a source, notes for the operator, and the requests that the
/// tests send.
pub(crate) struct ProviderFile {
    /// The name that a source gives in `provider`.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

macro_rules! provider_files {
    ($($name:literal,)*) => {
        &[$(ProviderFile {
            name: $name,
            text: include_str!(concat!("../../../providers/", $name, ".toml")),
        },)*]
    };
}

/// All providers, in the order of their names.
pub(crate) const FILES: &[ProviderFile] = provider_files![
    "adyen",
    "airtable",
    "alertmanager",
    "asana",
    "aws-sns",
    "azure-devops",
    "azure-event-grid",
    "bitbucket",
    "bitbucket-server",
    "box",
    "clerk",
    "cloudevents",
    "discord",
    "docker-hub",
    "docuseal",
    "dropbox",
    "gitea",
    "github",
    "gitlab",
    "grafana",
    "hubspot",
    "jira",
    "line",
    "linear",
    "mailgun",
    "mercado-pago",
    "meta",
    "microsoft-graph",
    "paddle",
    "pagerduty",
    "paypal",
    "postmark",
    "resend",
    "sendgrid",
    "sentry",
    "shopify",
    "slack",
    "square",
    "standard-webhooks",
    "stripe",
    "svix",
    "teams",
    "telegram",
    "trello",
    "twilio",
    "twitch",
    "workos",
    "xero",
    "zendesk",
    "zoom",
];
