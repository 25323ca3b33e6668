package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// clockSkew compares this machine's clock with the database's; half the round trip is taken off.
func clockSkew(ctx context.Context, db *sqlx.DB) (time.Duration, error) {
	before := time.Now()
	var theirs time.Time
	if err := db.GetContext(ctx, &theirs, `SELECT clock_timestamp()`); err != nil {
		return 0, err
	}
	middle := before.Add(time.Since(before) / 2)
	skew := theirs.Sub(middle).Abs()
	if skew > maxClockSkew {
		return skew, fmt.Errorf("%s apart from the database's: set both by the same time server", skew.Round(time.Millisecond))
	}
	return skew, nil
}
