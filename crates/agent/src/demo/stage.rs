//! What happens in a run, in order: each fault with what leads up to it and what must follow.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::cloud::Cloud;
use super::count::Tally;
use super::diary::Diary;
use super::error::DemoError;
use super::keys::{Key, Keys};
use super::life::Life;
use super::news::News;
use super::plan::{Cut, Plan};
use super::report::{self, Report};
use super::timeline::{Timeline, Who};
use super::verdict::{Bite, IN_FLIGHT_MIN, Miss, Verdict};
use super::{Script, Spoil};
use crate::args::Fault;

/// Readings after the last fault, to show that everything goes on.
const READINGS_AFTER: u64 = 20;
/// Readings between commands while a run goes on for the time asked for.
const READINGS_PER_COMMAND: u64 = 50;
/// How long the link is frozen.
const FROZEN: Duration = Duration::from_millis(1_500);
/// How long nobody is there after a kill.
const DEAD: Duration = Duration::from_millis(400);

/// A run: who takes part, and what was done to them so far.
pub(super) struct Stage<'a> {
    pub(super) script: &'a Script,
    pub(super) timeline: &'a Timeline,
    pub(super) cloud: Cloud,
    pub(super) life: Life,
    pub(super) diary: Rc<Diary>,
    pub(super) news: News,
    pub(super) bites: RefCell<Vec<Bite>>,
    /// What was in flight whenever the cloud lost its sessions.
    pub(super) forgotten: RefCell<BTreeSet<u64>>,
}

impl Stage<'_> {
    /// Lets cloud and device run, and spoils what is between them.
    pub(super) fn act(&self) -> Result<(), DemoError> {
        fiber::scope(|scope| {
            scope.spawn(|| self.cloud.serve())?;
            scope.spawn(|| {
                self.cloud.receive();
                Ok(())
            })?;
            scope.spawn(|| self.life.hear())?;
            self.life.start()?;
            self.direct()?;
            self.life.finish()?;
            scope.cancel();
            Ok(())
        })
    }

    /// What happens, in this order.
    fn direct(&self) -> Result<(), DemoError> {
        let cloud = &self.cloud;
        // The device asked for commands before it sent this, so that none finds it deaf.
        cloud.wait_until_seen(1)?;
        let mut plan = Plan::new(self.script.seed);
        if self.script.interactive {
            self.obey_keys(&mut plan)?;
        } else if !self.script.faults.is_empty() {
            let mut rounds = 0;
            while rounds < self.script.rounds_min || self.has_time() {
                for fault in &self.script.faults {
                    if !self.is_enough() {
                        self.inflict(*fault, &mut plan)?;
                    }
                }
                rounds += 1;
                if self.is_enough() {
                    break;
                }
            }
        }
        loop {
            cloud.command()?;
            cloud.wait_for_answers()?;
            cloud.wait_until_seen(cloud.seen() + READINGS_AFTER)?;
            if self.script.interactive || !self.has_time() {
                return Ok(());
            }
            cloud.wait_until_seen(cloud.seen() + READINGS_PER_COMMAND)?;
        }
    }

    /// Whether the time asked for is not over yet.
    fn has_time(&self) -> bool {
        let run_for = self.script.run_for.unwrap_or_default();
        self.timeline.began().elapsed() < run_for && !self.is_enough()
    }

    fn is_enough(&self) -> bool {
        self.script.enough.is_said()
    }

    /// Does what the keyboard says, until it says that it is enough.
    fn obey_keys(&self, plan: &mut Plan) -> Result<(), DemoError> {
        let mut keys = Keys::new(self.script.typed);
        self.timeline.print(Keys::HELP);
        loop {
            let next = self.script.enough.unless(|| keys.next())?;
            match next.unwrap_or(Key::Enough) {
                Key::Fault(fault) => {
                    self.inflict(fault, plan)?;
                    self.timeline.say(Who::Cloud, "ready for the next");
                }
                Key::Command => {
                    self.cloud.command()?;
                    self.cloud.wait_for_answers()?;
                }
                Key::Unknown => self.timeline.print(Keys::HELP),
                Key::Enough => return Ok(()),
            }
        }
    }

    fn inflict(&self, fault: Fault, plan: &mut Plan) -> Result<(), DemoError> {
        let cut = plan.draw_cut();
        let began = self.cloud.seen();
        // In an interactive run nothing leads up to it.
        if !self.script.interactive {
            self.cloud.wait_until_seen(began + cut.before / 2)?;
            self.cloud.command()?;
            self.cloud.wait_until_seen(began + cut.before)?;
        }
        // So that telemetry alone is under way.
        self.cloud.wait_for_answers()?;
        self.bites.borrow_mut().push(Bite {
            fault,
            in_flight: 0,
            inside: None,
            came_back: false,
        });
        match fault {
            Fault::Cut => self.cut(cut, self.script.spoil),
            Fault::DropAcks => self.cut(cut, Spoil::DropAcks),
            Fault::Stall => self.stall(),
            Fault::KillBroker => self.kill_broker(cut),
            Fault::PowerCut => self.power_cut(cut),
        }
    }

    /// Notes what was measured of the latest fault.
    fn bite(&self, note: impl FnOnce(&mut Bite)) {
        if let Some(bite) = self.bites.borrow_mut().last_mut() {
            note(bite);
        }
    }

    fn say(&self, what: impl std::fmt::Display) {
        self.timeline.say(Who::Fault, what);
    }

    /// Takes acknowledgements away until enough messages are in flight.
    fn build_up(&self, cut: Cut, spoil: Spoil) -> Result<(), DemoError> {
        match spoil {
            Spoil::Nothing => {}
            Spoil::Stall => {
                self.say("nothing reaches the device any more");
                self.cloud.stall()?;
            }
            Spoil::DropAcks => {
                self.say("acknowledgements are left out");
                self.cloud.drop_acks()?;
            }
        }
        self.cloud
            .wait_until_seen(self.cloud.seen() + cut.unacknowledged)
    }

    /// Telemetry, then no acknowledgements any more, then the end inside a packet; a command for the
    /// device that is away; and all that goes on by itself.
    fn cut(&self, cut: Cut, spoil: Spoil) -> Result<(), DemoError> {
        let (cloud, diary) = (&self.cloud, &self.diary);
        let (connected, lost) = (diary.times_connected(), diary.times_lost());
        self.build_up(cut, spoil)?;
        cloud.cut(cut)?;
        let report = cloud.wait_for_cut()?;
        self.say(report::place(&report));
        cloud.command()?;

        self.news
            .until(|| (diary.times_lost() > lost).then_some(()))?;
        let open = diary.in_flight();
        let in_flight = open.intersection(&cloud.since_stall()).count();
        self.say(format_args!(
            "{in_flight} messages in flight: the cloud has them, the device does not know"
        ));
        self.bite(|bite| (bite.in_flight, bite.inside) = (in_flight, report.inside));
        self.wait_until_back(connected, &open)
    }

    /// Nothing passes for a while, and the link stays.
    fn stall(&self) -> Result<(), DemoError> {
        self.say("nothing passes in either direction, and the link stays");
        self.cloud.freeze()?;
        let diary = &self.diary;
        let enough = || (diary.open().len() >= IN_FLIGHT_MIN).then_some(());
        self.news.until(enough)?;
        fiber::sleep(FROZEN)?;
        let open = diary.open();
        self.bite(|bite| bite.in_flight = open.len());
        self.say(format_args!(
            "{} messages wait at the device; everything passes again",
            open.len()
        ));
        self.cloud.heal()?;
        self.wait_until_acknowledged(&open)
    }

    /// The broker dies with all that it keeps; another one takes its place.
    fn kill_broker(&self, cut: Cut) -> Result<(), DemoError> {
        let (cloud, diary) = (&self.cloud, &self.diary);
        let (connected, lost) = (diary.times_connected(), diary.times_lost());
        self.build_up(cut, Spoil::Stall)?;
        cloud.kill_broker()?;
        self.say("the broker is killed, with its sessions");
        self.news
            .until(|| (diary.times_lost() > lost).then_some(()))?;
        let open = diary.in_flight();
        self.forgotten.borrow_mut().extend(&open);
        self.bite(|bite| bite.in_flight = open.len());
        fiber::sleep(DEAD)?;
        cloud.revive();
        self.say("another broker listens, which knows nobody");
        self.wait_until_back(connected, &open)?;
        cloud.repeat_commands()?;
        cloud.wait_for_answers()
    }

    /// The device's process is killed and started again: what it knew is gone, what is on its disk is
    /// not.
    fn power_cut(&self, cut: Cut) -> Result<(), DemoError> {
        let (cloud, diary) = (&self.cloud, &self.diary);
        let (connected, processes) = (diary.times_connected(), diary.processes());
        self.build_up(cut, Spoil::Stall)?;
        let process = self.life.process();
        self.life.kill()?;
        let open = diary.open();
        match process {
            Some(process) => self.say(format_args!(
                "power cut: process {process} killed with {} messages in flight",
                open.len()
            )),
            None => self.say("power cut: there is no process to kill"),
        }
        cloud.heal()?;
        cloud.command()?;
        fiber::sleep(DEAD)?;
        self.life.start()?;
        self.news
            .until(|| (diary.processes() > processes).then_some(()))?;
        self.wait_until_back(connected, &open)?;
        let found = diary.found();
        self.bite(|bite| bite.in_flight = open.len().min(found));
        Ok(())
    }

    /// Waits until the device is connected again, what was open is acknowledged, and commands are
    /// answered.
    fn wait_until_back(&self, connected: u64, open: &BTreeSet<u64>) -> Result<(), DemoError> {
        let diary = &self.diary;
        self.news
            .until(|| (diary.times_connected() > connected).then_some(()))?;
        self.wait_until_acknowledged(open)?;
        if self.bites.borrow().last().map(|bite| bite.fault) == Some(Fault::KillBroker) {
            return Ok(());
        }
        self.cloud.wait_for_answers()
    }

    fn wait_until_acknowledged(&self, open: &BTreeSet<u64>) -> Result<(), DemoError> {
        let again = self.news.until(|| self.diary.sent_again(open))?;
        self.bite(|bite| bite.came_back = true);
        self.timeline.say(
            Who::Device,
            format_args!(
                "what was open is acknowledged: {again} messages sent again that may be there twice \
                 (QoS 1), {} there once",
                open.len() - again
            ),
        );
        Ok(())
    }

    /// Compares the books, prints the table, and decides.
    pub(super) fn judge(&self, finished: bool) -> Result<(), DemoError> {
        let (commands, unanswered) = self.cloud.commands();
        let tally = Tally {
            unanswered,
            ..Tally::of(
                &self.diary.book(),
                &self.cloud.close(),
                &self.forgotten.borrow(),
            )
        };
        let bites = self.bites.borrow();
        let verdict = Verdict::of(&tally, &bites, finished);
        let report = Report {
            tally,
            commands,
            obeyed: self.diary.obeyed(),
            bites: &bites,
            processes: self.diary.processes(),
            certificates: self.cloud.certificates(),
            seed: self.script.seed,
            took: self.timeline.began().elapsed(),
        };
        self.timeline.print(&report.to_string());
        if let Verdict::NotShown(miss) = verdict {
            self.timeline.print(&format!("nothing was shown: {miss}\n"));
        }
        self.timeline.finish()?;
        match verdict {
            Verdict::Kept => Ok(()),
            Verdict::Broken => Err(DemoError::NotKept(tally)),
            // Whoever only looked on asked for no more.
            Verdict::NotShown(Miss::NoFault) if self.script.interactive => Ok(()),
            Verdict::NotShown(miss) => Err(DemoError::NotShown(miss)),
        }
    }
}
