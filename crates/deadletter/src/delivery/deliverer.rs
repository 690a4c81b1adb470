//! The loop that tells: takes what is due, posts it, settles what came of it.

use super::{Target, death, message, places::Places};
use crate::{
    Error, Result,
    guarded::guarded,
    outbound::{Handover, Parcel},
    patience::{Patience, may_pass},
    shared::Shared,
};
use deadletter_core::{Answer, Came, Delivery, DeliveryState, Settlement, StateKind, Task};
use deadletter_store::{Due, NextDelivery};
use futures_util::{StreamExt, stream::FuturesUnordered};
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};

/// Other processes' deliveries are noticed within this time; real time, because people wait for it.
const LOOK: Duration = Duration::from_secs(1);
/// For one try: what the post may take, and as much again for a store that is away when it is over.
/// Not longer, because a token that waits for it after a crash lives two minutes.
const LEASE_MS: f64 = 20_000.0;
/// What is on the wire when the engine stops may come to its end within this time.
const GRACE: Duration = Duration::from_secs(2);
/// A receiver that says so never wants to hear of it again (Standard Webhooks, "Event delivery").
const GONE: u16 = 410;

/// What is to be posted, and the verdict that it tells.
struct Composed {
    url: SecretString,
    parcel: Parcel,
    tells: (Task, Option<Answer>),
}

/// What came of a delivery that was taken.
struct Done {
    delivery: Delivery,
    /// None where nothing was sent.
    came: Option<Came>,
}

/// Runs until the engine stops; what is under way then and does not end soon is given back.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut places, mut under_way) = (Places::default(), FuturesUnordered::new());
    while !shared.is_stopping() {
        let mut pause = LOOK;
        match next(&shared, &mut places).await {
            Ok(Next::Taken(delivery)) => {
                places.begin(&delivery);
                under_way.push(hand_over(&shared, delivery));
                continue;
            }
            Ok(Next::Due(wait)) => pause = pause.min(wait),
            Ok(Next::Nothing) => {}
            Err(error) => {
                shared.health.could_not("look for deliveries", &error);
            }
        }
        tokio::select! {
            () = shared.stopped() => {}
            Some(done) = under_way.next() => end(&mut places, &done),
            () = shared.deliveries_written.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    let rest = async {
        while let Some(done) = under_way.next().await {
            end(&mut places, &done);
        }
    };
    drop(tokio::time::timeout(GRACE, rest).await);
    drop(under_way);
    let given_back = places.given_back(shared.now());
    if !given_back.is_empty()
        && let Err(error) = shared.store.settle_deliveries(&given_back).await
    {
        tracing::warn!(%error, "could not give deliveries back; their leases end by themselves");
    }
}

fn end(places: &mut Places, done: &Done) {
    places.end(&done.delivery, done.came);
}

/// What is to be done next.
enum Next {
    Taken(Delivery),
    /// Nothing before that time is over.
    Due(Duration),
    Nothing,
}

async fn next(shared: &Shared, places: &mut Places) -> Result<Next> {
    let mut next = whose_turn(shared, places).await?;
    let is_due = next.as_ref().is_some_and(|next| next.due_at <= shared.now());
    if !is_due && places.next_round() {
        next = whose_turn(shared, places).await?;
    }
    let (Some(next), now) = (next, shared.now()) else { return Ok(Next::Nothing) };
    if next.due_at > now {
        return Ok(Next::Due(shared.clock.wait_for(next.due_at.since(now))));
    }
    let lease_ms = (LEASE_MS * shared.clock.speed()) as i64;
    let due = Due { now, until: now.plus(lease_ms), place: next.place, limit: 1 };
    let taken = shared.store.take_deliveries(&due).await?.pop();
    // None: another process was faster.
    Ok(taken.map_or(Next::Due(Duration::ZERO), Next::Taken))
}

/// Whose first delivery is due first, of those that may have one more.
async fn whose_turn(shared: &Shared, places: &Places) -> Result<Option<NextDelivery>> {
    let Some(open) = places.open() else { return Ok(None) };
    Ok(shared.store.next_delivery(&open).await?)
}

/// Tells it once, and writes down what came of it.
async fn hand_over(shared: &Shared, delivery: Delivery) -> Done {
    let told = guarded(tell(shared, &delivery)).await;
    let (came, said) = match told {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => {
            shared.health.could_not("tell of an end; its lease ends by itself", &error);
            return Done { delivery, came: None };
        }
        Err(panic) => {
            tracing::error!(delivery = delivery.id(), panic, "telling it panicked");
            (Came::Failed, "it panicked".to_owned())
        }
    };
    let settled = delivery.after(came, said, shared.now(), shared.random());
    if settled.state == DeliveryState::GivenUp {
        let (place, tries) = (&delivery.place, delivery.tries);
        tracing::warn!(delivery = delivery.id(), place, tries, why = settled.said, "given up");
    }
    if let Err(error) = settle(shared, settled).await {
        shared.health.could_not("settle a delivery; it is told again", &error);
    }
    Done { delivery, came: Some(came) }
}

async fn tell(shared: &Shared, delivery: &Delivery) -> Result<(Came, String)> {
    let Composed { url, parcel, tells } = match compose(shared, delivery).await? {
        Ok(composed) => composed,
        Err(why) => return Ok((Came::Over, why.to_owned())),
    };
    let came = shared.courier.post(url.expose_secret(), &delivery.id(), parcel).await;
    shared.tries.count(&came);
    let id = delivery.id();
    Ok(match came {
        Handover::Delivered { status } => {
            tracing::info!(delivery = id, place = delivery.place, status, "delivered");
            shared.note_read(&tells.0, tells.1.as_ref());
            (Came::Delivered, format!("answered with {status}"))
        }
        Handover::Answered { status } => {
            tracing::info!(
                delivery = id,
                place = delivery.place,
                status,
                "not taken by the receiver"
            );
            let came = if status == GONE { Came::Over } else { Came::Failed };
            (came, format!("answered with {status}"))
        }
        Handover::Refused(refused) => {
            tracing::warn!(delivery = id, place = delivery.place, %refused, "not sent: not allowed");
            (Came::Failed, format!("not sent: {refused}"))
        }
        Handover::Failed { what, .. } => {
            tracing::info!(delivery = id, place = delivery.place, what, "not delivered");
            (Came::Failed, what)
        }
    })
}

/// Where to, and what is said; why nothing is to be said any more, where that is so.
async fn compose(shared: &Shared, delivery: &Delivery) -> Result<Result<Composed, &'static str>> {
    let (store, id) = (shared.store.as_ref(), delivery.task);
    let newest = store.deliveries(id, 1).await?.pop();
    if newest.is_none_or(|newest| newest.version > delivery.version) {
        return Ok(Err("a newer end of the task is told instead"));
    }
    let Some(task) = store.get(&[id]).await?.pop().flatten() else {
        return Ok(Err("the task was purged"));
    };
    let Some(target) = store.payload(id).await?.as_ref().and_then(Target::of) else {
        return Ok(Err("its request, which names the target, is lost"));
    };
    let (parcel, answer) = if delivery.ended == StateKind::Solved {
        match store.answer(id).await? {
            Some(answer) => (message(target.form, &task, Ok(&answer)), Some(answer)),
            None => return Ok(Err("its answer is lost")),
        }
    } else {
        let code = death(delivery.cause.as_ref(), delivery.class);
        (message(target.form, &task, Err(&code)), None)
    };
    Ok(Ok(Composed { url: target.url, parcel, tells: (task, answer) }))
}

/// What is not written down would be told again: the store is waited for.
async fn settle(shared: &Shared, settled: Settlement) -> Result<()> {
    let (settled, mut patience) = ([settled], Patience::new());
    loop {
        match shared.store.settle_deliveries(&settled).await {
            Err(error) if may_pass(&error) && !shared.is_stopping() => patience.wait().await,
            written => return written.map(drop).map_err(Error::from),
        }
    }
}
