package api

import (
	"cmp"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/tracking"
)

// deliveryView is a delivery as the API shows it; times are RFC 3339 in UTC, money is fen.
type deliveryView struct {
	ID            string        `json:"id"`
	Status        string        `json:"status"`
	StatusSince   string        `json:"status_since"`
	Rule          string        `json:"rule,omitempty"`
	Reason        string        `json:"reason,omitempty"`
	PermitNo      string        `json:"permit_no"`
	ApplicationNo string        `json:"application_no"`
	Business      string        `json:"business"`
	Route         string        `json:"route"`
	StationCode   string        `json:"station_code"`
	PaymentMethod string        `json:"payment_method"`
	FeeFen        int64         `json:"fee_fen"`
	PaidFen       int64         `json:"paid_fen"`
	RefundDueFen  int64         `json:"refund_due_fen"`
	RefundedFen   int64         `json:"refunded_fen"`
	OrderNo       string        `json:"order_no,omitempty"`
	WaybillNo     string        `json:"waybill_no,omitempty"`
	HeldUntil     string        `json:"held_until,omitempty"`
	HandedOverAt  string        `json:"handed_over_at,omitempty"`
	Receiver      string        `json:"receiver,omitempty"`
	Supersedes    string        `json:"supersedes,omitempty"`
	EventsSeq     int           `json:"events_seq"`
	NextPollAt    string        `json:"next_poll_at,omitempty"`
	CreatedAt     string        `json:"created_at"`
	UpdatedAt     string        `json:"updated_at"`
	Recipient     recipientView `json:"recipient"`
	Payments      []paymentView `json:"payments,omitempty"`
	Scans         []scanView    `json:"scans,omitempty"`
	Cases         []caseView    `json:"cases,omitempty"`

	Return        *returnView        `json:"return,omitempty"`
	NotReceived   []nonReceiptView   `json:"not_received,omitempty"`
	Interventions []interventionView `json:"interventions,omitempty"`
	Expected      *expectationView   `json:"expected,omitempty"`
	TrackingURL   string             `json:"tracking_url,omitempty"`
	Messages      []messageView      `json:"messages,omitempty"`
	Replies       []replyView        `json:"replies,omitempty"` // for clerks only
}

// recipientView is masked unless the token's scope allows more.
type recipientView struct {
	Name     string `json:"name"`
	Phone    string `json:"phone"`
	Province string `json:"province"`
	City     string `json:"city"`
	County   string `json:"county"`
	Address  string `json:"address"`
	Language string `json:"language"` // of messages: zh or en
}

type paymentView struct {
	Kind          string `json:"kind"`
	AmountFen     int64  `json:"amount_fen"`
	Method        string `json:"method"`
	TransactionNo string `json:"transaction_no"`
	PaidAt        string `json:"paid_at"`
	RecordedAt    string `json:"recorded_at"`
}

// scanView tells a scan in our own words: the carrier's sentence holds courier names and phones.
type scanView struct {
	At       string `json:"at"`
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
	Place    string `json:"place,omitempty"`
}

type caseView struct {
	ID         string `json:"id"`
	DeliveryID string `json:"delivery_id,omitempty"`
	Subject    string `json:"subject,omitempty"` // of a case about no delivery
	Kind       string `json:"kind"`
	OpenedAt   string `json:"opened_at"`
	DueAt      string `json:"due_at"`
	Owner      string `json:"owner,omitempty"`
	NextAction string `json:"next_action"`
	Detail     string `json:"detail,omitempty"`
	ClosedAt   string `json:"closed_at,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	ClosedBy   string `json:"closed_by,omitempty"`
	Why        string `json:"why,omitempty"`
}

func viewDelivery(d courier.Delivery, clear bool) deliveryView {
	v := deliveryView{
		ID: d.ID.String(), Status: string(d.Status), StatusSince: timeText(d.StatusSince), Rule: d.Rule, Reason: d.Reason,
		PermitNo: d.PermitNo, ApplicationNo: d.ApplicationNo, Business: d.Business, Route: d.Route, StationCode: d.StationCode,
		PaymentMethod: d.PaymentMethod, FeeFen: d.FeeFen, PaidFen: d.PaidFen, RefundDueFen: d.RefundDueFen, RefundedFen: d.RefundedFen,
		OrderNo: d.OrderNo, WaybillNo: d.WaybillNo, EventsSeq: d.Seq, NextPollAt: timeText(d.NextPollAt),
		CreatedAt: timeText(d.CreatedAt), UpdatedAt: timeText(d.UpdatedAt), Recipient: viewRecipient(d.Recipient, clear),
	}
	if !d.HeldUntil.IsZero() {
		v.HeldUntil = d.HeldUntil.Format("2006-01-02")
	}
	v.HandedOverAt, v.Receiver, v.Supersedes = timeText(d.HandedOverAt), d.Receiver, idText(d.Supersedes)
	return v
}

// viewAll shows a delivery with what belongs to it.
func viewAll(v courier.View, clear bool) deliveryView {
	d := viewDelivery(v.Delivery, clear)
	d.Payments = viewPayments(v.Payments)
	for _, c := range v.Cases {
		d.Cases = append(d.Cases, viewCase(c))
	}
	if v.Return != nil {
		r := viewReturn(*v.Return)
		d.Return = &r
	}
	for _, n := range v.NonReceipts {
		d.NotReceived = append(d.NotReceived, viewNonReceipt(n))
	}
	return d
}

func viewRecipient(r courier.Recipient, clear bool) recipientView {
	v := recipientView{Province: r.Province, City: r.City, County: r.County, Language: cmp.Or(r.Language, courier.InChinese)}
	if clear {
		v.Name, v.Phone, v.Address = r.Name.Reveal(), r.Phone.Reveal(), r.Address.Reveal()
	} else {
		v.Name, v.Phone, v.Address = vault.MaskName(r.Name), vault.MaskPhone(r.Phone), vault.MaskAddress(r.Address)
	}
	return v
}

func viewPayments(payments []courier.Payment) []paymentView {
	var vs []paymentView
	for _, p := range payments {
		vs = append(vs, paymentView{p.Kind, p.AmountFen, p.Method, p.TransactionNo, timeText(p.PaidAt), timeText(p.RecordedAt)})
	}
	return vs
}

func viewScans(steps []tracking.Step) []scanView {
	var vs []scanView
	for _, s := range steps {
		vs = append(vs, scanView{timeText(s.At), s.Code, s.Sentence, s.Place})
	}
	return vs
}

func viewCase(c courier.Case) caseView {
	return caseView{c.ID.String(), idText(c.DeliveryID), c.Subject, string(c.Kind), timeText(c.OpenedAt), timeText(c.DueAt), c.Owner, c.NextAction,
		c.Detail, timeText(c.ClosedAt), c.Outcome, c.ClosedBy, c.Why}
}
