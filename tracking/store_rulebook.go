package tracking

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// policyYears is how long a policy that has ended is still read: EMS keeps traces for a year, and nothing older than
// that is folded anew.
const policyYears = 2

// readRulebook reads what was decided and set in the database. What cannot be used is left out and told in Faults.
func readRulebook(ctx context.Context, q sqlx.QueryerContext, now time.Time) (*Rulebook, error) {
	decisions, err := readDecisions(ctx, q)
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(ctx, q, now.AddDate(-policyYears, 0, 0))
	if err != nil {
		return nil, err
	}
	terms, err := readTerms(ctx, q)
	if err != nil {
		return nil, err
	}
	return newRulebook(decisions, policies, terms), nil
}

// readDecisions reads all decisions in the order in which they were made.
func readDecisions(ctx context.Context, q sqlx.QueryerContext) ([]Decision, error) {
	rows, err := q.QueryxContext(ctx, `SELECT code, name, meaning, sentence, valid_from FROM code_decisions ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read decisions about codes: %w", err)
	}
	defer rows.Close()
	var list []Decision
	for rows.Next() {
		var d Decision
		if err := rows.Scan(&d.Code, &d.Name, &d.Meaning, &d.Sentence, &d.ValidFrom); err != nil {
			return nil, fmt.Errorf("read decisions about codes: %w", err)
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

func readPolicies(ctx context.Context, q sqlx.QueryerContext, since time.Time) ([]recipientPolicy, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT class, action, due_hours, valid_from, valid_to
		FROM recipient_policies
		WHERE valid_to IS NULL OR valid_to > $1
		ORDER BY id`, since)
	if err != nil {
		return nil, fmt.Errorf("read policies about recipients: %w", err)
	}
	defer rows.Close()
	var list []recipientPolicy
	for rows.Next() {
		var p recipientPolicy
		var to sql.NullTime
		if err := rows.Scan(&p.class, &p.action, &p.dueHours, &p.from, &to); err != nil {
			return nil, fmt.Errorf("read policies about recipients: %w", err)
		}
		p.to = to.Time
		list = append(list, p)
	}
	return list, rows.Err()
}

func readTerms(ctx context.Context, q sqlx.QueryerContext) ([]term, error) {
	rows, err := q.QueryxContext(ctx, `SELECT place, days, working FROM collection_terms`)
	if err != nil {
		return nil, fmt.Errorf("read terms of collection: %w", err)
	}
	defer rows.Close()
	var list []term
	for rows.Next() {
		var t term
		if err := rows.Scan(&t.place, &t.days, &t.working); err != nil {
			return nil, fmt.Errorf("read terms of collection: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}
