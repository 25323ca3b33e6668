package tracking

import (
	"time"

	"emsd/courier"
)

// A Plan says when to ask EMS again, and who goes first: the table poll_plan.
type Plan struct{}

// DefaultPlan is the plan that the schema brings.
func DefaultPlan() *Plan { return &Plan{} }

// Next is when to ask again, and how urgent it is then; see NextPoll.
func (*Plan) Next(stage courier.Status, changedAt, orderedAt time.Time, failures int, now time.Time) (time.Time, int) {
	return NextPoll(stage, changedAt, orderedAt, failures, now), 3
}
