package main

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"emsd/courier/emssim"
)

// While EMS answers with error pages, /readyz says so, permits and payments are taken in, what needs no EMS is told, and
// everything that waited goes on when EMS is back.
func TestEMSAwayStopsNothingElse(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, env: []string{"EMSD_QUIET_HOURS=off"}})
	before := d.ordered(1)
	d.ems.SetFault(emssim.Fault{Kind: emssim.HTTP502})
	var waiting []string
	ready := func() reply {
		r, err := request(d.ops+"/readyz", "GET", nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	until(t, 30*time.Second, "seen to be away", func() bool {
		waiting = append(waiting, id(d.accept(permit(10+len(waiting), "payment_method", "collect")))) // taken in, whatever EMS does
		r := ready()
		return r.status == http.StatusServiceUnavailable && bytes.Contains(r.body, []byte("EMS does not answer")) && bytes.Contains(r.body, []byte(`"database":"ok"`))
	})
	// Money and messages do not wait for EMS.
	paid := d.accept(permit(5))
	if r := d.pay(id(paid), paid["fee_fen"], "WX-away"); r.status != http.StatusOK {
		t.Errorf("a payment while EMS is away: %s", r)
	}
	waiting = append(waiting, id(paid))
	off := d.accept(permit(6))
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+id(off)+"/cancel", map[string]any{"reason": "申请人改为自取"})
	until(t, 20*time.Second, "cancelled", func() bool { return d.status(id(off)) == "cancelled" })
	until(t, 20*time.Second, "told", func() bool { return len(d.sms.Messages()) > 0 })
	if got := d.status(before); got != "ordered" {
		t.Errorf("an outage made an order %s", got)
	}
	d.ems.ClearFaults()
	until(t, 60*time.Second, "all ordered", func() bool {
		for _, id := range waiting {
			if d.status(id) != "ordered" {
				return false
			}
		}
		return ready().status == http.StatusOK
	})
	paidOrders := map[string]int{}
	for _, o := range d.standing() {
		if paidOrders[o.OrderNo]++; paidOrders[o.OrderNo] > 1 {
			t.Errorf("order %s is paid twice", o.OrderNo)
		}
	}
}
