package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unicode"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// posts are envelopes with EMS, written past the daemon, so that there is news to tell whether it is there or not.
type posts struct {
	t     *testing.T
	db    *sqlx.DB
	vault *vault.Vault
	now   func() time.Time
	phone map[uuid.UUID]string
}

// envelopes makes n deliveries that EMS has, with numbers of their own, and gives the news that they are on their way, or wait
// at a counter.
func (p *posts) envelopes(n int) {
	p.t.Helper()
	p.news(n)
	if err := courier.NewPublisher(p.db).Round(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// news is envelopes whose events have no place in the feed yet.
func (p *posts) news(n int) {
	p.t.Helper()
	now := p.now()
	var moves []courier.Move
	if p.phone == nil {
		p.phone = map[uuid.UUID]string{}
	}
	for range n {
		id, nth := uuid.Must(uuid.NewV7()), len(p.phone)
		no, phone := fmt.Sprintf("12%011d", nth), fmt.Sprintf("1391111%04d", 1000+nth)
		p.phone[id] = phone
		_, err := p.db.Exec(`
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
			VALUES ($1, 'A' || $2, 'SQ' || $2, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
				'prepaid', $4, $5, '', '', $6, '', '', '北京市', '北京市', '朝阳区', 'ordered', $3, 'RP' || $2, $2, $3, $3)`, id, no, now,
			p.vault.Seal(vault.ColumnName, id, "张三"), p.vault.Seal(vault.ColumnPhone, id, phone), p.vault.Lookup(vault.ColumnPhone, phone))
		if err != nil {
			p.t.Fatal(err)
		}
		move := courier.Move{ID: id, From: courier.Ordered, To: courier.InTransit, At: now, Data: courier.EventData{WaybillNo: no}}
		if nth%2 == 0 {
			move.To, move.Data.HeldUntil = courier.Held, now.AddDate(0, 0, 60).In(beijing).Format(time.DateOnly)
		}
		moves = append(moves, move)
	}
	err := courier.InTx(p.t.Context(), p.db, func(tx *sqlx.Tx) error {
		_, err := courier.ApplyMoves(p.t.Context(), tx, moves)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// judge holds the simulators' books against what is stored: no number was told a milestone twice, what counts as sent was
// taken, and what does not says why in words for a clerk.
func (p *posts) judge(sms *smssim.Gateway, gateway string) {
	p.t.Helper()
	milestones, told := templateMilestones(p.t), map[string]bool{}
	for _, s := range sms.Messages() {
		key := s.Phone + " " + milestones[s.Template]
		if told[key] {
			p.t.Errorf("I-5: %s was told twice", key)
		}
		if told[key] = true; s.Gateway != gateway {
			p.t.Errorf("I-4: %s took a message that may be at %s", s.Gateway, gateway)
		}
	}
	var stored []struct {
		Delivery  uuid.UUID        `db:"delivery_id"`
		Milestone notify.Milestone `db:"milestone"`
		State     string           `db:"state"`
		Reason    string           `db:"reason"`
		Case      bool             `db:"has_case"`
	}
	err := p.db.Select(&stored, `
		SELECT delivery_id, milestone, state, reason,
			EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = m.delivery_id AND c.kind = 'sms_failed') AS has_case
		FROM messages m`)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(stored) != len(p.phone) {
		p.t.Errorf("%d messages for %d pieces of news", len(stored), len(p.phone))
	}
	states := map[string]int{}
	for _, s := range stored {
		states[s.State]++
		sent := s.State == "accepted" || s.State == "delivered"
		switch {
		case sent && !told[p.phone[s.Delivery]+" "+string(s.Milestone)]:
			p.t.Errorf("%s of %s is %s, and no gateway has it", s.Milestone, s.Delivery, s.State)
		case !sent && !slices.ContainsFunc([]rune(s.Reason), func(r rune) bool { return unicode.Is(unicode.Han, r) }):
			p.t.Errorf("%s of %s is %s without a reason for a clerk: %q", s.Milestone, s.Delivery, s.State, s.Reason)
		case s.State == "failed" && s.Milestone == notify.Held && !s.Case:
			p.t.Errorf("nobody is to call the resident of %s, who waits for %s", s.Delivery, s.Milestone)
		}
	}
	p.t.Logf("%d told by the books; messages: %v", len(told), states)
}
