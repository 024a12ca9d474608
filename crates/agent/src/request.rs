//! `agent request`: publishes a request and prints the response.
//!
//! The subscription to the response stands before the request leaves, so that no response can be
//! missed. Messages that the broker had kept are no responses, and neither is what comes before the
//! request was sent.

use crate::args::{RequestArgs, Retained, SubArgs, TakeArgs};
use crate::failure::Failure;
use crate::publish;
use crate::subscribe::{self, Then};

/// Does what `agent request` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code.
pub fn run(args: &RequestArgs) -> Result<(), Failure> {
    let request = publish::message(&args.source)?.unwrap_or_default();
    let response = SubArgs {
        connection: args.connection.clone(),
        subscriptions: vec![(args.response_topic.clone(), args.qos)],
        unsubscribe: Vec::new(),
        exit_subscribed: false,
        wait: args.wait,
        take: TakeArgs {
            count: Some(std::num::NonZeroU64::MIN),
            retained: Retained::Hidden,
            ..TakeArgs::default()
        },
        output: args.output.clone(),
    };
    subscribe::run_then(
        &response,
        Then::Send(Box::new(|client| {
            publish::deliver(client, &args.topic, &request, args.qos, false)
        })),
    )
}
