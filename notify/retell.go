package notify

import (
	"emsd/courier"
)

// A retelling is news about what a message says that has not left yet: who received the envelope, until when it waits, why
// a try failed; or that a scan was taken back. The message takes it up and is decided about anew at once.
type retelling struct {
	about          // an empty milestone: every message of the delivery
	position int64 // of the event; messages of later ones know it already
	vars     Vars  // what is news in them
	revives  bool  // what was not sent because of the old words may be sent by the new ones
}

// retellings are those of a chunk, one for each message.
type retellings struct {
	list []retelling
	at   map[about]int
}

// read takes up what an event says about messages of earlier ones.
func (r *retellings) read(e courier.Event, data courier.EventData) {
	milestone, moved := milestoneOf(e)
	if data.Withdrawn {
		r.add(retelling{about: about{e.DeliveryID, ""}, position: e.Position})
	}
	if moved && !data.Late { // its own message has the words
		return
	}
	is := func(m Milestone) bool { return milestone == m || !moved }
	if data.Receipt != "" && is(Delivered) {
		r.add(retelling{about{e.DeliveryID, Delivered}, e.Position, Vars{Receiver: data.Receiver, Receipt: data.Receipt},
			!data.Late && (Vars{Receipt: data.Receipt}).handed()})
	}
	if data.HeldUntil != "" && is(Held) {
		r.add(retelling{about{e.DeliveryID, Held}, e.Position, Vars{HeldUntil: data.HeldUntil}, false})
	}
	if data.Attempt != "" && is(AttemptFailed) {
		r.add(retelling{about{e.DeliveryID, AttemptFailed}, e.Position, Vars{Attempt: data.Attempt}, !data.Late && data.Attempt != refusedAtDoor})
	}
}

func (r *retellings) add(t retelling) {
	if i, seen := r.at[t.about]; seen {
		r.list[i] = t // of one milestone the later one says all that the earlier did
		return
	}
	if r.at == nil {
		r.at = make(map[about]int)
	}
	r.at[t.about] = len(r.list)
	r.list = append(r.list, t)
}
