package courier

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// publishChunk bounds how long one transaction holds the head of the feed.
const publishChunk = 5000

// A Publisher gives committed events their place in the feed. Readers ask by position, not by id: an event whose
// transaction commits late has a low id and would be missed.
type Publisher struct{ db *sqlx.DB }

// NewPublisher returns a publisher; any number of them may run, the row lock on the head makes them take turns.
func NewPublisher(db *sqlx.DB) *Publisher { return &Publisher{db} }

// Round publishes until nothing is left.
func (p *Publisher) Round(ctx context.Context) error {
	for {
		n, err := publishOnce(ctx, p.db, publishChunk)
		if err != nil || n < publishChunk {
			return err
		}
	}
}
