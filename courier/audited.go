package courier

import (
	"strconv"
	"time"

	"emsd/courier/audit"
)

// acceptEntry says who took in what, in one entry for a whole transaction: the events of each delivery tell the rest.
// There is none where nothing was recorded.
func acceptEntry(results []Result, by string, now time.Time) []audit.Entry {
	counts := map[Outcome]int{}
	paid, first := 0, ""
	for _, r := range results {
		counts[r.Outcome]++
		if r.Outcome != Created && r.Outcome != RefusedByRule {
			continue
		}
		if first == "" {
			first = r.Delivery.ID.String()
		}
		if r.Paid {
			paid++
		}
	}
	if first == "" {
		return nil
	}
	e := audit.Entry{At: now, Actor: by, Action: "delivery.accept", Object: first}
	if by == "" {
		e.Actor = "emsd"
	}
	if len(results) == 1 {
		e.Detail = map[string]string{"outcome": string(results[0].Outcome)}
		return []audit.Entry{e}
	}
	e.Action, e.Detail = "delivery.accept_many", map[string]string{"paid": strconv.Itoa(paid)}
	for o, n := range counts {
		e.Detail[string(o)] = strconv.Itoa(n)
	}
	return []audit.Entry{e}
}

// paymentEntries says who recorded which money.
func paymentEntries(fresh []Payment, now time.Time) []audit.Entry {
	entries := make([]audit.Entry, len(fresh))
	for i, p := range fresh {
		entries[i] = audit.Entry{At: now, Actor: p.RecordedBy, Action: "payment.record", Object: p.DeliveryID.String(), Detail: moneyDetail(p)}
	}
	return entries
}

func moneyDetail(p Payment) map[string]string {
	detail := map[string]string{"transaction_no": p.TransactionNo, "amount_fen": strconv.FormatInt(p.AmountFen, 10), "method": p.Method}
	if p.Reason != "" {
		detail["reason"] = p.Reason
	}
	return detail
}
