package main

import (
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
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
