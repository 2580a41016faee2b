//! Whose turn it is: one search at a time, a bounded queue, and nobody gets two turns while others wait for one.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Who asks: an IPv4 address, or an IPv6 network of /64, which is what one customer gets.
pub type Client = u64;

/// Places in the queue; each waiting client holds a block of at most 32 KiB.
pub(super) const PLACES: usize = 16;

/// Places that one client may hold.
const PLACES_PER_CLIENT: usize = 8;

/// Clients remembered as served.
const REMEMBERED: usize = 64;

/// The queue. Pure, but for the channels that it passes on.
#[derive(Debug, Default)]
pub(super) struct Turns {
    busy: bool,
    waiting: VecDeque<(Client, oneshot::Sender<()>)>,
    /// Clients that had a turn, the last one at the end.
    served: VecDeque<Client>,
}

/// The queue is full, or the client's part of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Searches that come first.
    pub(super) ahead: usize,
}

impl Turns {
    /// `None`: it is the client's turn now. `Some`: it is when that resolves; an error there means that the place was
    /// needed for somebody who had fewer.
    pub(super) fn enter(&mut self, client: Client) -> Result<Option<oneshot::Receiver<()>>, Full> {
        if !self.busy {
            self.busy = true;
            self.remember(client);
            return Ok(None);
        }
        // Who went away holds no place.
        self.waiting.retain(|(_, turn)| !turn.is_closed());
        let places = |of: Client| self.waiting.iter().filter(|(other, _)| *other == of).count();
        let full = Full { ahead: self.waiting.len() + 1 };
        if places(client) >= PLACES_PER_CLIENT {
            return Err(full);
        }
        if self.waiting.len() >= PLACES {
            // Whoever holds most gives one up, the last, unless that would only change places.
            let most = (0..self.waiting.len()).max_by_key(|at| (places(self.waiting[*at].0), *at));
            let Some(most) = most.filter(|at| places(self.waiting[*at].0) > places(client) + 1) else {
                return Err(full);
            };
            drop(self.waiting.remove(most));
        }
        let (turn, resolves) = oneshot::channel();
        self.waiting.push_back((client, turn));
        Ok(Some(resolves))
    }

    /// A turn has ended: the next is that of whoever had none for longest.
    pub(super) fn leave(&mut self) {
        self.busy = false;
        while let Some(at) = self.next() {
            let Some((client, turn)) = self.waiting.remove(at) else { return };
            if turn.send(()).is_ok() {
                self.busy = true;
                self.remember(client);
                return;
            }
        }
    }

    fn next(&self) -> Option<usize> {
        let last_turn = |client: &Client| self.served.iter().rposition(|other| other == client);
        let order = |at: &usize| (last_turn(&self.waiting[*at].0), *at);
        (0..self.waiting.len()).min_by_key(order)
    }

    fn remember(&mut self, client: Client) {
        self.served.retain(|other| *other != client);
        self.served.push_back(client);
        if self.served.len() > REMEMBERED {
            self.served.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, PLACES, PLACES_PER_CLIENT, Turns};

    #[test]
    fn nobody_is_served_twice_while_another_waits() {
        let mut turns = Turns::default();
        assert!(turns.enter(1).unwrap().is_none());
        let mut greedy = (0..4).map(|_| turns.enter(1).unwrap().unwrap()).collect::<Vec<_>>();
        let (mut second, mut third) = (turns.enter(2).unwrap().unwrap(), turns.enter(3).unwrap().unwrap());
        turns.leave();
        assert!(second.try_recv().is_ok() && third.try_recv().is_err());
        turns.leave();
        assert!(third.try_recv().is_ok() && greedy[0].try_recv().is_err());
        // Comes again at once, and still after the one who waits longer.
        let mut again = turns.enter(3).unwrap().unwrap();
        turns.leave();
        assert!(greedy[0].try_recv().is_ok() && again.try_recv().is_err());
        turns.leave();
        assert!(again.try_recv().is_ok() && greedy[1].try_recv().is_err());
    }

    #[test]
    fn queue_and_share_are_bounded() {
        let mut turns = Turns::default();
        assert!(turns.enter(0).unwrap().is_none());
        let greedy = (0..PLACES_PER_CLIENT).map(|_| turns.enter(1).unwrap().unwrap()).collect::<Vec<_>>();
        assert_eq!(turns.enter(1).unwrap_err(), Full { ahead: PLACES_PER_CLIENT + 1 });
        let others =
            (0..PLACES - PLACES_PER_CLIENT).map(|client| turns.enter(2 + client as u64).unwrap().unwrap());
        let others = others.collect::<Vec<_>>();
        assert_eq!(turns.enter(1).unwrap_err(), Full { ahead: PLACES + 1 });
        drop(greedy);
        assert!(turns.enter(99).is_ok(), "who went away holds no place");
        drop(others);
        turns.leave();
    }

    #[test]
    fn two_that_are_greedy_do_not_shut_others_out() {
        let mut turns = Turns::default();
        assert!(turns.enter(0).unwrap().is_none());
        let mut greedy =
            (0..PLACES).map(|at| turns.enter(1 + at as u64 % 2).unwrap().unwrap()).collect::<Vec<_>>();
        let mut newcomer = turns.enter(3).unwrap().unwrap();
        let gone = greedy.iter_mut().filter_map(|turn| turn.try_recv().err());
        let gone = gone.filter(|error| *error == tokio::sync::oneshot::error::TryRecvError::Closed).count();
        assert_eq!(gone, 1);
        turns.leave();
        assert!(greedy[0].try_recv().is_ok());
        turns.leave();
        assert!(greedy[1].try_recv().is_ok());
        turns.leave();
        assert!(newcomer.try_recv().is_ok(), "before the next of the greedy");
        // With one place each, nobody gives any up.
        let mut turns = Turns::default();
        assert!(turns.enter(0).unwrap().is_none());
        let each =
            (0..PLACES).map(|client| turns.enter(1 + client as u64).unwrap().unwrap()).collect::<Vec<_>>();
        assert_eq!(turns.enter(99).unwrap_err(), Full { ahead: PLACES + 1 });
        drop(each);
    }

    #[test]
    fn who_went_away_gets_no_turn() {
        let mut turns = Turns::default();
        assert!(turns.enter(0).unwrap().is_none());
        drop(turns.enter(1));
        let mut second = turns.enter(2).unwrap().unwrap();
        turns.leave();
        assert!(second.try_recv().is_ok());
        turns.leave();
        assert!(turns.enter(3).unwrap().is_none());
    }
}
