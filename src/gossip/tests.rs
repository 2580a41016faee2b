use super::peer::{Reason, Relation};
use super::wire::{self, Heartbeat, Message};
use super::{Arrival, Finding, Gossip, Output, Progress, SLOTS, Slot};
use crate::protocol::block::{Block, Parents, id_of};
use crate::protocol::id::{BlockId, MilestoneIndex};

fn at(index: u32) -> Progress {
    let index = MilestoneIndex(index);
    Progress { confirmed: index, latest: index, almost_synced: true, ..Progress::default() }
}

fn heartbeat(solid: u32) -> Heartbeat {
    let index = MilestoneIndex(solid);
    Heartbeat { solid: index, latest: index, ..Heartbeat::default() }
}

fn block(number: u8) -> (BlockId, Vec<u8>) {
    let parents = Parents::new(vec![BlockId([number; 32])]).unwrap();
    let bytes = Block { protocol_version: 2, parents, payload: None, nonce: 0 }.pack();
    (id_of(&bytes), bytes)
}

type Sent = Vec<(Slot, Vec<u8>)>;

/// Everything that is to be done: frames by peer, and who is dropped.
fn done(gossip: &mut Gossip) -> (Sent, Vec<(Slot, Reason)>) {
    let (mut frames, mut dropped) = (Vec::new(), Vec::new());
    while let Some(output) = gossip.poll() {
        match output {
            Output::Send { to, frame } => frames.extend(to.iter().map(|slot| (slot, frame.to_vec()))),
            Output::Drop { slot, reason } => dropped.push((slot, reason)),
        }
    }
    (frames, dropped)
}

fn asked(frames: &[(Slot, Vec<u8>)], of: Slot) -> usize {
    let is_request = |frame: &[u8]| {
        matches!(wire::parse(frame), Ok(Some((Message::MilestoneRequest(index), _))) if index.0 > 0)
            || matches!(wire::parse(frame), Ok(Some((Message::BlockRequest(_), _))))
    };
    frames.iter().filter(|(slot, frame)| *slot == of && is_request(frame)).count()
}

fn connect(gossip: &mut Gossip, solid: u32) -> Slot {
    let slot = gossip.connected(Relation::Unknown, 0).unwrap();
    gossip.heartbeat(slot, heartbeat(solid), 0);
    slot
}

#[test]
fn a_stream_begins_with_heartbeat_and_request_for_the_newest() {
    let mut gossip = Gossip::new(at(5), []);
    let slot = gossip.connected(Relation::Known, 0).unwrap();
    let (frames, _) = done(&mut gossip);
    let said = frames.iter().map(|(_, frame)| wire::parse(frame).unwrap().unwrap().0).collect::<Vec<_>>();
    let own = Heartbeat { connected: 1, ..heartbeat(5) };
    assert_eq!(said, [Message::Heartbeat(own), Message::MilestoneRequest(MilestoneIndex(0))]);
    assert!(frames.iter().all(|(to, _)| *to == slot));
}

#[test]
fn places_are_bounded_and_given_again() {
    let mut gossip = Gossip::new(at(1), []);
    let slots = (0..SLOTS).map(|_| gossip.connected(Relation::Unknown, 0).unwrap()).collect::<Vec<_>>();
    assert_eq!(gossip.connected(Relation::Known, 0), None);
    gossip.gone(slots[7], 0);
    assert_eq!(gossip.connected(Relation::Known, 0), Some(slots[7]));
}

/// HORNET asked such a peer for 150 milestones at once, and again each 5 s: 1,178 requests in 14 s.
#[test]
fn a_peer_that_claims_to_be_far_ahead_is_not_believed_for_long() {
    let mut gossip = Gossip::new(at(100), []);
    let liar = connect(&mut gossip, 600);
    let mut count = 0;
    for now_ms in (0..=14_000).step_by(250) {
        gossip.heartbeat(liar, heartbeat(600), now_ms);
        gossip.tick(now_ms);
        count += asked(&done(&mut gossip).0, liar);
    }
    assert!((16..=40).contains(&count), "{count} requests");
    // Who has the milestones is asked at once, and for more and more.
    let honest = gossip.connected(Relation::Known, 14_000).unwrap();
    gossip.heartbeat(honest, heartbeat(300), 14_000);
    assert_eq!(asked(&done(&mut gossip).0, honest), 16);
}

/// HORNET asked for an unknown parent without end.
#[test]
fn what_nobody_has_is_not_asked_for_for_ever() {
    let mut gossip = Gossip::new(at(100), []);
    let slot = connect(&mut gossip, 100);
    let (child, bytes) = block(1);
    assert_eq!(gossip.block(slot, child, &bytes, 0), Arrival::Check);
    assert!(gossip.checked(slot, child, Finding::Good(None), 0));
    gossip.need(&[BlockId([1; 32])], None, Some(child), 0);
    assert_eq!(asked(&done(&mut gossip).0, slot), 1);
    let mut count = 0;
    for now_ms in (0..120_000).step_by(500) {
        gossip.heartbeat(slot, heartbeat(100), now_ms);
        gossip.tick(now_ms);
        count += asked(&done(&mut gossip).0, slot);
    }
    assert!((1..=6).contains(&count), "{count} requests");
    assert_eq!(gossip.wanted(), 0);
}

#[test]
fn what_a_milestone_needs_is_asked_of_all_until_it_comes() {
    let mut gossip = Gossip::new(at(100), []);
    let (one, two) = (connect(&mut gossip, 101), connect(&mut gossip, 101));
    gossip.set_ahead([MilestoneIndex(101)]);
    done(&mut gossip);
    let (id, bytes) = block(9);
    gossip.need(&[id], Some(MilestoneIndex(101)), None, 0);
    let mut counts = [0, 0];
    for now_ms in (0..300_000).step_by(500) {
        for slot in [one, two] {
            gossip.heartbeat(slot, heartbeat(101), now_ms);
        }
        gossip.tick(now_ms);
        let (frames, _) = done(&mut gossip);
        counts = [counts[0] + asked(&frames, one), counts[1] + asked(&frames, two)];
    }
    assert!(counts.iter().all(|count| (5..=30).contains(count)), "{counts:?}");
    assert_eq!(gossip.block(one, id, &bytes, 300_000), Arrival::Wanted(MilestoneIndex(101)));
    assert_eq!(gossip.wanted(), 0);
}

/// HORNET sent every block of a client to each peer twice.
#[test]
fn a_block_goes_once_to_whoever_has_it_not() {
    let mut gossip = Gossip::new(at(100), []);
    let slots = [connect(&mut gossip, 100), connect(&mut gossip, 100), connect(&mut gossip, 100)];
    done(&mut gossip);
    let (id, bytes) = block(1);
    assert_eq!(gossip.block(slots[0], id, &bytes, 0), Arrival::Check);
    gossip.checked(slots[0], id, Finding::Good(None), 0);
    gossip.taken(&id);
    assert_eq!(gossip.block(slots[1], id, &bytes, 0), Arrival::Ignore);
    gossip.forward(id, &bytes);
    let frame = Message::Block(&bytes).pack();
    assert_eq!(done(&mut gossip).0, [(slots[2], frame)]);
    gossip.forward(id, &bytes);
    assert!(done(&mut gossip).0.is_empty());
}

/// The others were away when a client attached it.
#[test]
fn whoever_comes_later_is_offered_a_block_once_it_is_in_step() {
    let mut gossip = Gossip::new(at(100), []);
    let (id, bytes) = block(1);
    gossip.forward(id, &bytes);
    assert!(done(&mut gossip).0.is_empty() && !gossip.is_lacked(&id));
    let slot = gossip.connected(Relation::Known, 0).unwrap();
    gossip.heartbeat(slot, Heartbeat { latest: MilestoneIndex(100), ..heartbeat(97) }, 0);
    assert!(!gossip.is_lacked(&id));
    gossip.heartbeat(slot, heartbeat(98), 0);
    done(&mut gossip);
    assert!(gossip.is_lacked(&id));
    gossip.offer(id, &bytes);
    assert_eq!(done(&mut gossip).0, [(slot, Message::Block(&bytes).pack())]);
    assert!(!gossip.is_lacked(&id));
}

#[test]
fn an_invalid_block_ends_the_connections_of_all_who_sent_it() {
    let mut gossip = Gossip::new(at(100), []);
    let slots = [connect(&mut gossip, 100), connect(&mut gossip, 100), connect(&mut gossip, 100)];
    let (id, bytes) = block(1);
    assert_eq!(gossip.block(slots[0], id, &bytes, 0), Arrival::Check);
    assert_eq!(gossip.block(slots[2], id, &bytes, 0), Arrival::Ignore);
    assert!(!gossip.checked(slots[0], id, Finding::Invalid, 0));
    let reason = Reason::InvalidBlock;
    assert_eq!(done(&mut gossip).1, [(slots[0], reason), (slots[2], reason)]);
    assert!(gossip.peer(slots[0]).is_none() && gossip.peer(slots[1]).is_some());
}

#[test]
fn a_node_that_is_behind_takes_only_what_it_asked_for() {
    let mut gossip = Gossip::new(Progress { almost_synced: false, ..at(100) }, []);
    let slot = connect(&mut gossip, 200);
    let (id, bytes) = block(1);
    assert_eq!(gossip.block(slot, id, &bytes, 0), Arrival::Ignore);
    gossip.need(&[id], Some(MilestoneIndex(101)), None, 0);
    assert_eq!(gossip.block(slot, id, &bytes, 0), Arrival::Wanted(MilestoneIndex(101)));
}

#[test]
fn past_cones_are_asked_for_as_far_as_there_is_room() {
    let behind = |confirmed, reach| Progress {
        almost_synced: false,
        latest: MilestoneIndex(200),
        reach: MilestoneIndex(reach),
        ..at(confirmed)
    };
    let mut gossip = Gossip::new(behind(100, 103), []);
    gossip.set_ahead((101..=200).map(MilestoneIndex));
    let slot = connect(&mut gossip, 200);
    for index in 101..=110 {
        gossip.need(&[BlockId([index; 32])], Some(MilestoneIndex(index.into())), None, 0);
    }
    assert_eq!(asked(&done(&mut gossip).0, slot), 3);
    gossip.progress(behind(102, 102), 10);
    assert_eq!(asked(&done(&mut gossip).0, slot), 0, "the next one is always asked for, and was");
    gossip.progress(behind(102, 110), 20);
    assert_eq!(asked(&done(&mut gossip).0, slot), 7);
}

#[test]
fn milestones_that_nobody_signed_are_few() {
    let mut gossip = Gossip::new(at(100), []);
    let slot = connect(&mut gossip, 100);
    let kept = (0..=255).filter(|number| gossip.checked(slot, BlockId([*number; 32]), Finding::Forged, 0));
    assert_eq!(kept.count(), 8);
    assert!(gossip.checked(slot, BlockId::ZERO, Finding::Forged, 10_000));
    assert!(!gossip.checked(slot, BlockId::ZERO, Finding::Forged, 10_000));
}

#[test]
fn who_asks_for_far_too_much_again_and_again_loses_the_connection() {
    let mut gossip = Gossip::new(at(100), []);
    let (busy, flood) = (connect(&mut gossip, 100), connect(&mut gossip, 100));
    let (mut answered, mut ended) = (0, None);
    for second in 0..30 {
        let mut ask =
            |slot, count| (0..count).filter(|_| gossip.may_ask(slot, false, 1_000 * second)).count();
        // At first it may ask for twice as much.
        assert!((32_000..=63_000).contains(&ask(busy, 63_000)), "at {second} s");
        answered += ask(flood, 100_000);
        if let Some((slot, reason)) = done(&mut gossip).1.first() {
            assert_eq!((*slot, *reason, ended), (flood, Reason::Flood, None));
            ended = Some(second);
        }
    }
    assert_eq!((ended, answered), (Some(10), 32_000 * 12));
    assert!(gossip.peer(busy).is_some());
}

#[test]
fn who_sends_far_more_than_any_network_has_loses_the_connection() {
    let mut gossip = Gossip::new(at(100), []);
    let (busy, flood) = (connect(&mut gossip, 100), connect(&mut gossip, 100));
    let (_, bytes) = block(1);
    let (mut number, mut ended) = (0_u64, None);
    for second in 0..30 {
        for (slot, count) in [(busy, 7_900), (flood, 12_100)] {
            for _ in 0..count {
                number += 1;
                let mut id = [0; 32];
                id[..8].copy_from_slice(&number.to_le_bytes());
                gossip.block(slot, BlockId(id), &bytes, 1_000 * second);
            }
        }
        if let Some((slot, reason)) = done(&mut gossip).1.first() {
            assert_eq!((*slot, *reason, ended), (flood, Reason::Flood, None));
            ended = Some(second);
        }
    }
    assert_eq!(ended, Some(10));
    assert!(gossip.peer(busy).is_some());
}

#[test]
fn peers_go_by_hornets_rules() {
    let mut gossip = Gossip::new(Progress { pruned: MilestoneIndex(50), ..at(100) }, []);
    let mute = gossip.connected(Relation::Known, 0).unwrap();
    let behind = connect(&mut gossip, 49);
    let chosen = gossip.connected(Relation::Autopeered, 0).unwrap();
    gossip.heartbeat(chosen, heartbeat(49), 0);
    let fine = connect(&mut gossip, 50);
    let known = gossip.connected(Relation::Known, 0).unwrap();
    gossip.heartbeat(known, heartbeat(1), 0);
    done(&mut gossip);
    gossip.tick(4_999);
    assert_eq!(done(&mut gossip).1, [(behind, Reason::Behind), (chosen, Reason::Behind)]);
    gossip.tick(5_000);
    assert_eq!(done(&mut gossip).1, [(mute, Reason::NoHeartbeat)]);
    gossip.tick(99_999);
    assert!(done(&mut gossip).1.is_empty());
    gossip.tick(100_000);
    assert_eq!(done(&mut gossip).1, [(fine, Reason::Silent), (known, Reason::Silent)]);
}

#[test]
fn heartbeats_follow_changes_and_never_stop() {
    let mut gossip = Gossip::new(at(100), []);
    let slot = connect(&mut gossip, 100);
    let mut told = Vec::new();
    for now_ms in (0..70_000).step_by(10) {
        if now_ms < 2_000 {
            gossip.progress(at(100 + now_ms / 10), now_ms.into());
        }
        gossip.heartbeat(slot, heartbeat(100), now_ms.into());
        gossip.tick(now_ms.into());
        for (_, frame) in done(&mut gossip).0 {
            if let Ok(Some((Message::Heartbeat(said), _))) = wire::parse(&frame) {
                told.push((now_ms, said.solid.0));
            }
        }
    }
    // Two hundred milestones within two seconds are told five times a second.
    let (changes, later): (Vec<(u32, u32)>, Vec<_>) = told.iter().partition(|(when, _)| *when < 3_000);
    assert!((10..=12).contains(&changes.len()), "{changes:?}");
    assert_eq!(changes.last().unwrap().1, 299);
    assert_eq!(later.len(), 2, "{later:?}");
}

/// As when the connection ends while a block waits for its check.
#[test]
fn a_block_whose_check_never_ended_is_asked_for_again() {
    let mut gossip = Gossip::new(at(100), []);
    let slot = connect(&mut gossip, 101);
    gossip.set_ahead([MilestoneIndex(101)]);
    let (id, bytes) = block(1);
    let need = |gossip: &mut Gossip, now_ms| gossip.need(&[id], Some(MilestoneIndex(101)), None, now_ms);
    need(&mut gossip, 0);
    assert_eq!(gossip.block(slot, id, &bytes, 0), Arrival::Wanted(MilestoneIndex(101)));
    need(&mut gossip, 9_000);
    assert_eq!(gossip.wanted(), 0);
    need(&mut gossip, 10_000);
    assert_eq!(gossip.wanted(), 1);
    assert_eq!(gossip.block(slot, id, &bytes, 10_000), Arrival::Wanted(MilestoneIndex(101)));
}

/// What strangers make up must not stand before what a milestone needs.
#[test]
fn what_a_milestone_needs_comes_first() {
    let mut gossip = Gossip::new(at(100), []);
    let slot = connect(&mut gossip, 101);
    done(&mut gossip);
    for number in 0..2_000_u32 {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        gossip.need(&[BlockId(id)], None, None, 0);
    }
    done(&mut gossip);
    gossip.need(&[BlockId([9; 32])], Some(MilestoneIndex(101)), None, 0);
    let wanted = Message::BlockRequest(BlockId([9; 32])).pack();
    assert_eq!(done(&mut gossip).0, [(slot, wanted)]);
}
