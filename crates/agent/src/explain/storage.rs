//! `S###`: what can go wrong with what the device keeps on its disk.

use super::Explanation;

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "S001",
        title: "the disk is full",
        cause: "There is no room for the next message of the queue. What is about messages that \
                are stored already is written into a reserve.",
        verify: "Look at `df` and `df -i` of the state directory.",
        fix: "Make room; the agent goes on by itself. `[queue] max_disk` keeps the queue smaller.",
        notes: &[],
    },
    Explanation {
        code: "S002",
        title: "the queue cannot be written",
        cause: "The disk answered a write, or the request to make it sure, with an error. What is \
                published meanwhile is in memory alone.",
        verify: "Look into the kernel's log for errors of the disk, and whether it is mounted \
                read-only.",
        fix: "Repair or replace the disk. It is tried again every second, in another file.",
        notes: &[],
    },
    Explanation {
        code: "S003",
        title: "the end of the queue was not whole",
        cause: "The power went off, or the program was killed, while it wrote. What was not sure \
                before is cut off.",
        verify: "Nothing is to be looked at, as long as it is told after such an event alone.",
        fix: "Nothing to do: no message is lost that was told to be stored.",
        notes: &[],
    },
    Explanation {
        code: "S004",
        title: "a part of the queue is damaged",
        cause: "The disk gives back other bytes than were written, or a file was changed by hand. \
                Messages in that part are lost; those before and behind it are not.",
        verify: "The file as it was found is beside, with the ending `damaged`.",
        fix: "Check the disk: a card or a flash at the end of its life begins like this. Remove \
                the file when nobody wants to look into it.",
        notes: &[],
    },
    Explanation {
        code: "S005",
        title: "a newer program wrote the queue",
        cause: "The agent was replaced by an older version, which does not know the format.",
        verify: "The files are beside, with the ending `newer`.",
        fix: "Run the newer version again to have these messages sent.",
        notes: &[],
    },
    Explanation {
        code: "S006",
        title: "records of an unknown kind were passed over",
        cause: "A newer program wrote something about messages that this one does not know.",
        verify: "Compare the versions that ran on the device.",
        fix: "Nothing to do, or run the newer version again.",
        notes: &[],
    },
    Explanation {
        code: "S007",
        title: "the queue belonged to another client or broker",
        cause: "The client id or the endpoint was changed. What was under way to the other broker \
                is queued again, and may arrive there and here.",
        verify: "Compare `[device] id` and `[cloud] endpoint` with what they were.",
        fix: "Nothing to do if the change was meant.",
        notes: &[],
    },
    Explanation {
        code: "S008",
        title: "a stored message is given up",
        cause: "Its content is damaged, or could not be read again and again while others could.",
        verify: "Look into the kernel's log for errors of the disk.",
        fix: "Check the disk; the message is lost.",
        notes: &[],
    },
    Explanation {
        code: "S009",
        title: "a stored message cannot be read",
        cause: "The disk answered with an error. It is tried again, later and later.",
        verify: "Look into the kernel's log for errors of the disk.",
        fix: "Check the disk.",
        notes: &[],
    },
    Explanation {
        code: "S010",
        title: "a file of the queue cannot be removed",
        cause: "The disk, or a right, does not allow it. It is tried again.",
        verify: "Look at the owner of the state directory and whether it is mounted read-only.",
        fix: "Have the state directory belong to the user of the agent.",
        notes: &[],
    },
    Explanation {
        code: "S011",
        title: "the store of the queue has a fault",
        cause: "The part of the program that writes the queue failed. What is published is in \
                memory alone until the agent is started again.",
        verify: "The log has what happened.",
        fix: "Start the agent again, and report the fault.",
        notes: &[],
    },
];
