package main

import (
	"net/http"
	"testing"
	"time"

	"emsd/courier/emssim"
)

// standing lists the waybills of EMS's books that are not cancelled.
func (d *daemon) standing() (list []emssim.LedgerOrder) {
	for _, o := range d.ems.Ledger().Orders {
		if !o.Cancelled {
			list = append(list, o)
		}
	}
	return list
}

var cancelOften = []string{"EMSD_SCHEDULE_CANCEL=@every 1s"}

func newAddress(county string) map[string]any {
	return map[string]any{"reason": "申请人写错地址", "province": "北京市", "city": "北京市", "county": county, "address": "新住处甲9号楼77号"}
}

// The address of an order that EMS has is corrected by cancelling its waybill and ordering anew, whatever gets lost: in
// EMS's books one waybill stands in the end.
func TestI3_ACorrectedAddressLeavesOneWaybill(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]*emssim.Fault{
		"nothing goes wrong":       nil,
		"the cancellation is lost": {API: "020006", Kind: emssim.LoseReply, Count: 2},
		"the new order is lost":    {API: "020003", Kind: emssim.LoseReply, Count: 2},
		"EMS answers with a page":  {API: "020006", Kind: emssim.HTTP502, Count: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, setup{quick: true, env: cancelOften, ems: emssim.Config{PushTo: "here"}})
			id := d.ordered(81)
			was := d.view(id)
			if fault != nil {
				d.ems.SetFault(*fault)
			}
			d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/address", newAddress("海淀区"))
			until(t, 40*time.Second, "ordered anew", func() bool {
				v := d.view(id)
				return v["status"] == "ordered" && v["waybill_no"] != was["waybill_no"]
			})
			v := d.view(id)
			until(t, 20*time.Second, "one waybill stands", func() bool { return len(d.standing()) == 1 })
			if o := d.standing()[0]; o.WaybillNo != v["waybill_no"] || o.OrderNo == was["order_no"] || o.OrderNo != v["order_no"] {
				t.Errorf("EMS's books hold %+v, the delivery has waybill %v and order %v", o, v["waybill_no"], v["order_no"])
			}
			if to := v["recipient"].(map[string]any); to["county"] != "海淀区" || to["address"] != "新住处甲9号楼77号" {
				t.Errorf("recipient %v", to)
			}
			var waybills, labels, state int
			err := d.app.db.QueryRow(`SELECT (SELECT count(*) FROM waybills WHERE waybill_no = $2), (SELECT count(*) FROM labels WHERE waybill_no <> $2),
				(SELECT count(*) FROM readdressings WHERE delivery_id = $1 AND outcome = 'ordered_anew')`, id, v["waybill_no"]).Scan(&waybills, &labels, &state)
			if err != nil || waybills != 1 || labels != 0 || state != 1 {
				t.Errorf("%d tracked, %d old labels, %d ended, %v; want 1, 0, 1", waybills, labels, state, err)
			}
			if n, err := d.app.db.Exec(`UPDATE numbers SET state = 'free' WHERE waybill_no = $1 AND state <> 'void'`, was["waybill_no"]); err != nil {
				t.Error(err)
			} else if rows, _ := n.RowsAffected(); rows != 0 {
				t.Error("the number of the cancelled waybill may be used again")
			}
			// The new waybill is followed.
			d.scanned(id, "in_transit", "203", "305")
		})
	}
}

func TestACorrectedAddressThatCostsMoreWaitsForTheRest(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, env: cancelOften})
	id := d.ordered(82)
	to := map[string]any{"reason": "申请人回乡", "province": "新疆维吾尔自治区", "city": "乌鲁木齐市", "county": "天山区", "address": "新住处甲9号楼77号"}
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/address", to)
	until(t, 20*time.Second, "waiting for money", func() bool { return d.status(id) == "awaiting_payment" })
	if left := d.standing(); len(left) != 0 {
		t.Errorf("EMS's books hold %v while the rest is not paid", left)
	}
	v := d.view(id)
	rest := v["fee_fen"].(float64) - v["paid_fen"].(float64)
	if rest <= 0 {
		t.Fatalf("fee %v, paid %v", v["fee_fen"], v["paid_fen"])
	}
	if r := d.pay(id, int(rest), "WX-rest"); r.status != http.StatusOK {
		t.Fatal(r)
	}
	until(t, 20*time.Second, "ordered", func() bool { return d.status(id) == "ordered" && len(d.standing()) == 1 })
}

func TestAnAddressIsNotCorrectedBehindEMSsBack(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, env: cancelOften, ems: emssim.Config{PushTo: "here"}})
	conflict := func(id, code string, body map[string]any) {
		t.Helper()
		r := d.call("clerk", "POST", "/v1/deliveries/"+id+"/address", body)
		if r.status != http.StatusConflict || r.in(t)["code"] != code {
			t.Errorf("%s, want 409 %s", r, code)
		}
	}
	handed := d.ordered(83)
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+handed+"/handover", map[string]any{"reason": "交接"})
	conflict(handed, "already_handed_over", newAddress("海淀区"))

	moving := d.ordered(84)
	d.scanned(moving, "accepted", "203")
	conflict(moving, "already_ordered", newAddress("海淀区"))

	// EMS does not answer for a while: the change is pending.
	d.ems.SetFault(emssim.Fault{API: "020006", Kind: emssim.HTTP502})
	pending := d.ordered(85)
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+pending+"/address", newAddress("海淀区"))
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+pending+"/address", newAddress("海淀区"))
	conflict(pending, "address_change_pending", newAddress("丰台区"))
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+pending+"/cancel", map[string]any{"reason": "不寄了"})
	d.ems.ClearFaults()
	until(t, 30*time.Second, "cancelled", func() bool { return d.status(pending) == "cancelled" })

	// EMS has the envelope already and says so: a clerk is told, nothing else changes.
	refused := d.ordered(86)
	no := d.view(refused)["waybill_no"]
	d.ems.SetFault(emssim.Fault{API: "020006", Kind: emssim.Refuse})
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+refused+"/address", newAddress("海淀区"))
	until(t, 30*time.Second, "a case", func() bool { return len(caseOf(d.view(refused), "address")) > 0 })
	v := d.view(refused)
	if v["status"] != "ordered" || v["waybill_no"] != no || v["recipient"].(map[string]any)["county"] != "西城区" {
		t.Errorf("%v with waybill %v to %v", v["status"], v["waybill_no"], v["recipient"])
	}
}
