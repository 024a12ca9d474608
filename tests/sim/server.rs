//! The broker on its machine, which is restarted now and then: with its sessions, or without.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::World;
use fiber::{sleep, spawn};
use mqtt::{Broker, BrokerOptions, Faults};
use safe_rt::{Listener, ServerTls};

use crate::scene::{Seen, TOPIC, Transport};

#[derive(Clone)]
pub(crate) struct Server {
    broker: Rc<RefCell<Broker>>,
    tls: Option<ServerTls>,
    asked: Rc<fiber::Event>,
    down: Rc<Cell<Duration>>,
    forgets: Rc<Cell<bool>>,
    /// How often it has lost its sessions.
    pub(crate) losses: Rc<Cell<u32>>,
    /// Readings that came to it, in their order.
    pub(crate) arrived: Seen,
}

impl Server {
    /// Starts it on the machine `broker`.
    pub(crate) fn start(world: &World, transport: &Transport) -> Self {
        let server = Self {
            broker: Rc::new(RefCell::new(Broker::new(BrokerOptions::new()))),
            tls: transport.server.clone(),
            asked: Rc::default(),
            down: Rc::default(),
            forgets: Rc::default(),
            losses: Rc::default(),
            arrived: Seen::default(),
        };
        let serving = server.clone();
        let started = world.host("broker").start(move || serving.run());
        drop(started.expect("a fiber"));
        server
    }

    fn run(&self) {
        self.listen_in();
        loop {
            let broker = self.broker.borrow().clone();
            broker.serve(self.listener()).expect("a fiber");
            // An error is the end of the run.
            if self.asked.wait().is_err() {
                return;
            }
            self.asked.clear();
            broker.stop();
            let _ = sleep(self.down.get());
            if self.forgets.take() {
                self.losses.set(self.losses.get() + 1);
                self.broker.replace(Broker::new(BrokerOptions::new()));
                self.listen_in();
            }
        }
    }

    fn listener(&self) -> Listener {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        loop {
            let listener = match self.tls.clone() {
                Some(tls) => Listener::bind_tls(any(8883), tls),
                None => Listener::bind(any(1883)),
            };
            match listener {
                Ok(listener) => return listener,
                // The one before is not closed yet.
                Err(_) => drop(sleep(Duration::from_millis(10))),
            }
        }
    }

    /// Notes what comes to the broker as it is now.
    fn listen_in(&self) {
        let readings = self.broker.borrow().subscribe(TOPIC).expect("a topic");
        let arrived = Rc::clone(&self.arrived);
        let note = move || {
            while let Ok(message) = readings.recv() {
                arrived.borrow_mut().push(message.payload()[0]);
            }
        };
        drop(spawn(note).expect("a fiber"));
    }

    /// Restarts it; it is away for so long.
    pub(crate) fn restart(&self, down: Duration, forgets: bool) {
        self.down.set(down);
        self.forgets.set(forgets);
        self.asked.set();
    }

    /// What the broker does wrong to a client.
    pub(crate) fn set_faults(&self, client: &str, faults: Faults) {
        let set = self.broker.borrow().set_faults(client, faults);
        set.expect("few clients");
    }
}
