package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// TestI3_ASecondWaybillIsCancelledAtOnce: not only at the next turn of a schedule, when EMS may have collected an envelope.
func TestI3_ASecondWaybillIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_SCHEDULE_CANCEL=@every 12h", "EMSD_SCHEDULE_RECONCILE=@every 1s"}, quick: true})
	d.ems.SetFault(emssim.Fault{API: "020003", Kind: emssim.DuplicateWaybill, Count: 1})
	v := d.accept(permit(1, "payment_method", "collect"))
	order := "RP" + strings.ReplaceAll(id(v), "-", "")
	until(t, 30*time.Second, "ordered, and the second waybill cancelled", func() bool {
		orders := d.ems.Ledger().Orders
		return len(orders) == 2 && d.ems.Orders(order) == 1 && d.status(id(v)) == "ordered"
	})
}

// TestI8_ReadersOverHTTPMissNothingOfWritersThatCommitLate: some readers page, some wait, one begins when all is written.
func TestI8_ReadersOverHTTPMissNothingOfWritersThatCommitLate(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	const writers, each = 20, 10
	var ids []uuid.UUID
	for n := range writers {
		ids = append(ids, uuid.MustParse(id(d.accept(permit(n+1)))))
	}
	const total = writers * (each + 1)
	read := func(query string) error {
		last := map[string]int{}
		began := time.Now()
		for after := 0; after < total; {
			if time.Since(began) > time.Minute {
				return fmt.Errorf("%s: %d of %d events in a minute", query, after, total)
			}
			r, err := d.try("read", "GET", fmt.Sprintf("/v1/events?after=%d&%s", after, query), nil)
			if err != nil || r.status != http.StatusOK {
				return fmt.Errorf("%s: %s, %w", query, r, err)
			}
			var page struct {
				Events []struct {
					Position   int    `json:"position"`
					DeliveryID string `json:"delivery_id"`
					Seq        int    `json:"seq"`
				} `json:"events"`
			}
			if err := json.Unmarshal(r.body, &page); err != nil {
				return err
			}
			for _, e := range page.Events {
				if e.Position != after+1 || e.Seq != last[e.DeliveryID]+1 {
					return fmt.Errorf("%s: position %d came after %d, seq %d after %d", query, e.Position, after, e.Seq, last[e.DeliveryID])
				}
				after, last[e.DeliveryID] = e.Position, e.Seq
			}
		}
		return nil
	}
	d.token("read") // before the readers ask for it together
	var reading, writing sync.WaitGroup
	for _, query := range []string{"limit=7&wait=5s", "limit=100&wait=5s", "limit=1000&wait=1s"} {
		reading.Go(func() {
			if err := read(query); err != nil {
				t.Error(err)
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for n := range each {
				err := courier.InTx(t.Context(), d.app.db, func(tx *sqlx.Tx) error {
					err := courier.AppendEvents(t.Context(), tx, []courier.NewEvent{{DeliveryID: ids[w], Type: courier.EventScan, At: time.Now()}})
					if err == nil { // ids that are given later are committed earlier
						_, err = tx.ExecContext(t.Context(), `SELECT pg_sleep($1)`, float64((w*7+n*3)%10)*0.004)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
	if err := read("limit=50"); err != nil {
		t.Error(err)
	}
}

// TestAPhoneThatGetsNoSMSIsRefusedAtIntake by its field, so that no envelope is sent of which nobody can be told.
func TestAPhoneThatGetsNoSMSIsRefusedAtIntake(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	for what, phone := range map[string]string{"landline": "010-89735900", "landline without hyphen": "01089735900", "foreign": "+14155550100",
		"Hong Kong": "+85291234567", "masked": "138****0000", "too short": "1380000000", "empty": ""} {
		r := d.call("permits", "POST", "/v1/deliveries", permit(1, "recipient.phone", phone))
		if r.status != http.StatusUnprocessableEntity || !bytes.Contains(r.body, []byte("/recipient/phone")) {
			t.Errorf("%s: %s, want 422 naming /recipient/phone", what, r)
		}
		if phone != "" && bytes.Contains(r.body, []byte(phone)) {
			t.Errorf("%s: the answer repeats the number", what)
		}
	}
}
