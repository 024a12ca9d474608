//! Faults that are planted, so that tests can be seen to find them. None of this is in an ordinary
//! build.

use super::Session;

/// What a session, or the client around it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Planted {
    /// PUBLISH at QoS 2 leaves before message and identifier are durable.
    PublishBeforeRecord,
    /// PUBREL leaves before it is durable that PUBREC came.
    ReleaseBeforeRecord,
    /// PUBREC leaves before it is durable that the message was handled.
    AckBeforeRecord,
    /// PUBCOMP leaves before it is durable that the identifier is free.
    CompleteBeforeRecord,
    /// What is sent again has no DUP.
    ResendWithoutDup,
    /// A PUBREL that was sent is not sent again on the next connection.
    ForgottenPubrel,
    /// The identifier of a QoS 2 message is given again once PUBREL is on its way.
    IdentifierReusedEarly,
}

impl Session {
    /// Tells whether this fault was planted.
    pub(crate) fn is_planted(&self, fault: Planted) -> bool {
        self.options.planted == Some(fault)
    }
}
