//! `nowcxr alerts`: the reference consumer, and what people do about what it shows.

mod act;

pub use act::acts;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::embedded::Home;
use super::schemas::Ids;
use super::settings::{ConfigArgs, node};
use super::{now, patiently, stop_on_signal};
use crate::config::{Config, MailSecurity};
use crate::event::dictionary::Dictionary;
use crate::notify::{
    Backoff, Channel, Desk, Dispatch, Mail, Notice, NotifyError, Syslog, Tally, UnitBudget, Until,
    Webhook, follow,
};
use crate::ports::AlertFeed;
use crate::transport::kafka::{KafkaAlerts, KafkaSettings};
use crate::transport::local::LocalAlerts;
use crate::wire::Codec;

#[derive(Args)]
pub struct AlertsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Follows the alerts, shows what holds, and passes it on as [notify] says.
    ///
    /// Each alert is shown by its highest revision; records that say nothing new are passed over.
    /// It leaves by webhook, syslog and mail, whichever of them is set.
    /// In silent mode an alert is shown as one that would have been, and leaves by no channel.
    /// The position moves on only when everything before it was delivered.
    Follow(FollowArgs),
    /// Says that an alert was seen.
    Ack(act::About),
    /// Says that something was done because of an alert. Final.
    Action(act::About),
    /// Says that an alert was overridden, and why. Final.
    Dismiss {
        #[command(flatten)]
        about: act::About,
        /// A code of the site.
        #[arg(long)]
        reason: String,
    },
    /// Asks for no alert on the same subject for a while.
    Snooze {
        #[command(flatten)]
        about: act::About,
        /// 1, 4 or 12.
        #[arg(long)]
        hours: i64,
    },
    /// Asks for no alerts at all about a stay, until released.
    Suppress {
        #[command(flatten)]
        who: act::Who,
        /// comfort_care or site_decision.
        #[arg(long)]
        reason: String,
    },
    /// Ends a suppression.
    Release(act::Who),
}

#[derive(Args)]
struct FollowArgs {
    /// Follow the log of a demo or a replay, finished or running, instead of Kafka.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// One JSON object for each alert shown.
    #[arg(long)]
    json: bool,
    /// End once nothing has come for so many seconds and everything is delivered.
    #[arg(long, value_name = "SECONDS")]
    until_idle: Option<u64>,
}

pub fn run(args: &AlertsArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    match &args.what {
        What::Follow(args) => follow_alerts(args, &config)?,
        What::Ack(about) => act::about(&config, about, act::Doing::Acknowledge)?,
        What::Action(about) => act::about(&config, about, act::Doing::Action)?,
        What::Dismiss { about, reason } => {
            act::about(&config, about, act::Doing::Dismiss(reason))?;
        }
        What::Snooze { about, hours } => act::about(&config, about, act::Doing::Snooze(*hours))?,
        What::Suppress { who, reason } => act::suppress(&config, who, reason)?,
        What::Release(who) => act::release(&config, who)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn follow_alerts(args: &FollowArgs, config: &Config) -> Result<()> {
    let stop = stop_on_signal()?;
    let until = args.until_idle.map(Duration::from_secs).map_or(Until::Stopped, Until::Idle);
    let settings = KafkaSettings::from(&config.kafka);
    let dictionary = Dictionary::builtin(config.profile)?;
    let tally = match &args.run {
        Some(dir) => {
            let home = Home::new(dir);
            if !home.log().exists() {
                bail!("{} holds no log; name the directory of a run with --run", dir.display());
            }
            let positions = dir.join(format!("{}.json", config.notify.group));
            let feed = LocalAlerts::open(&home.log(), &positions)?;
            let codec = Codec::new(&config.engine.feeds, dictionary)?;
            consume(feed, args, (config, codec), until, &stop)?
        }
        None => {
            let group = &config.notify.group;
            let Some(ids) = patiently(&stop, || Ids::of(config))? else { return Ok(()) };
            let feed = patiently(&stop, || KafkaAlerts::join(&settings, group))?;
            let Some(feed) = feed else { return Ok(()) };
            consume(feed, args, (config, ids.codec(config, &dictionary)?), until, &stop)?
        }
    };
    say(args.json, tally);
    Ok(())
}

fn consume(
    mut feed: impl AlertFeed,
    args: &FollowArgs,
    (config, codec): (&Config, Codec),
    until: Until,
    stop: &AtomicBool,
) -> Result<Tally> {
    let budget = UnitBudget::new(config.notify.beds, config.notify.budget);
    let mut desk = Desk::new(codec, budget).fresh(config.notify.past, now);
    let backoff = Backoff { most: config.notify.retry_max, ..Backoff::default() };
    let mut dispatch = Dispatch::start(channels(config)?, backoff)?;
    let mut show = |notice: &Notice| show(notice, args.json);
    match follow(&mut feed, &mut desk, &mut dispatch, &mut show, until, stop) {
        // The reader of our output has seen enough, such as `head`.
        Err(NotifyError::Show(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(Tally::default())
        }
        other => Ok(other?),
    }
}

fn channels(config: &Config) -> Result<Vec<Box<dyn Channel>>> {
    let notify = &config.notify;
    let mut channels: Vec<Box<dyn Channel>> = Vec::new();
    if let Some(url) = &notify.webhook {
        let secret = notify.webhook_secret.reveal().context("notify.webhook_secret")?;
        if secret.is_empty() {
            tracing::warn!("notify.webhook_secret is not set: the requests are not signed");
        }
        channels.push(Box::new(Webhook::new(url, &secret, now)));
    }
    if let Some(target) = &notify.syslog {
        let syslog = Syslog::new(target, now).context("notify.syslog is no target")?;
        channels.push(Box::new(syslog));
    }
    if let Some(mail) = &notify.mail {
        if mail.security == MailSecurity::Plain && !mail.user.is_empty() {
            tracing::warn!("notify.mail_password goes in the clear; name the server by smtps://");
        }
        channels.push(Box::new(Mail::new(mail, &node(config), now)?));
    }
    Ok(channels)
}

/// Each line at once, for whoever reads along.
fn show(notice: &Notice, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", notice.json())?,
        false => writeln!(out, "{}", notice.line())?,
    }
    out.flush()
}

/// What was done, on the other stream, so that the output is nothing but alerts.
fn say(json: bool, tally: Tally) {
    let Tally { shown, passed, unreadable, delivered, refused } = tally;
    if json || !std::io::stderr().is_terminal() {
        let counts = json!({
            "shown": shown,
            "passed": passed,
            "unreadable": unreadable,
            "delivered": delivered,
            "refused": refused,
        });
        eprintln!("{counts}");
    } else {
        eprintln!(
            "{shown} shown, {passed} said nothing new, {unreadable} unreadable, {delivered} \
             delivered, {refused} refused"
        );
    }
}
