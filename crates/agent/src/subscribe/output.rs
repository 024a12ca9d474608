//! How a message is printed.

use std::time::{Duration, UNIX_EPOCH};

use jiff::tz::TimeZone;
use mqtt::{Message, PacketId};

use crate::args::OutputArgs;
use crate::failure::Failure;
use crate::format::{Fields, Moment};
use crate::out::{self, OutputPosition, PrintError, Printer};

/// What is printed of a message, with its topic if that is wanted; of an empty one without its
/// topic, or without a line end, that is nothing.
pub(crate) fn parts(message: &Message, verbose: bool, line_end: bool) -> [&[u8]; 4] {
    let end: &[u8] = if line_end { b"\n" } else { b"" };
    match (verbose, message.data.is_empty()) {
        (true, false) => [message.topic.as_bytes(), b" ", &message.data, end],
        (true, true) if line_end => [message.topic.as_bytes(), b" (null)\n", b"", b""],
        (false, false) => [&message.data, end, b"", b""],
        (_, true) => [b""; 4],
    }
}

/// Prints messages as the arguments say.
#[derive(Debug)]
pub(super) struct Output {
    args: OutputArgs,
    zone: TimeZone,
}

impl Output {
    /// Finds the time zone, if a format may need it. Yields.
    pub(super) fn new(args: &OutputArgs) -> Result<Self, Failure> {
        let zone = match args.format {
            None => TimeZone::UTC,
            // It reads files.
            Some(_) => match fiber::offload(TimeZone::system) {
                Ok(zone) => zone,
                Err(fiber::OffloadError::Stopped(stopped)) => {
                    return Err(Failure::Stopped(stopped));
                }
                Err(error) => return Err(Failure::Output(error.into())),
            },
        };
        Ok(Self {
            args: args.clone(),
            zone,
        })
    }

    /// Prints a message, and returns where it ends. Yields as [`Printer::print`] does.
    pub(super) fn print(
        &self,
        printer: &Printer,
        message: &Message,
    ) -> Result<OutputPosition, PrintError> {
        let OutputArgs {
            verbose,
            format,
            pretty,
            line_end,
        } = &self.args;
        let Some(format) = format else {
            return printer.print(&parts(message, *verbose, *line_end));
        };
        let fields = Fields {
            topic: &message.topic,
            payload: &message.data,
            qos: message.qos,
            retain: message.retain,
            packet_id: message.packet_id.map_or(0, PacketId::get),
        };
        let since_1970 = fiber::wall_time().duration_since(UNIX_EPOCH);
        let moment = Moment::new(since_1970.unwrap_or(Duration::ZERO), &self.zone);
        let mut bytes = Vec::new();
        let applied = format.apply(&fields, &moment, *pretty, &mut bytes);
        if applied.is_err() {
            out::error(format_args!(
                "Message payload is not valid JSON on topic {}.",
                fields.topic
            ));
        }
        if *line_end {
            bytes.push(b'\n');
        }
        printer.print(&[&bytes])
    }
}
