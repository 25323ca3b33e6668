package api

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"

	"github.com/google/uuid"
)

// accept takes one approved permit. A refusal by a rule is recorded all the same.
func (a *API) accept(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	app, faults := courier.ParseApplication(body)
	results, err := a.service.AcceptPaid(r.Context(), []courier.Intake{{Application: app, Faults: faults}}, t.Name)
	if err != nil {
		return err
	}
	status, err := outcome(results[0])
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/deliveries/"+results[0].Delivery.ID.String())
	v := viewDelivery(results[0].Delivery, false)
	v.TrackingURL = a.trackingURL(t, results[0].Delivery.ID)
	web.WriteJSON(w, status, "application/json", v)
	return nil
}

// trackingURL is the address of the resident's page, for those who may hand it to the resident.
func (a *API) trackingURL(t courier.Token, delivery uuid.UUID) string {
	if a.tracking == nil || !slices.ContainsFunc(t.Scopes, func(s string) bool { return s == scopePermits || s == scopeClerk || s == scopeAdmin }) {
		return ""
	}
	return a.tracking(delivery)
}

// outcome tells the status of an accepted permit, or the problem of one that was not.
func outcome(res courier.Result) (int, error) {
	switch res.Outcome {
	case courier.Created:
		return http.StatusCreated, nil
	case courier.Existing:
		return http.StatusOK, nil
	case courier.RefusedByRule:
		return 0, web.RefusedProblem(res.Delivery.Rule, res.Delivery.Reason, res.Delivery.ID.String())
	case courier.LivePermit:
		return 0, &courier.LiveDelivery{ID: res.Delivery.ID}
	case courier.PickedUp:
		return 0, courier.ErrPickedUp
	default:
		return 0, res.Faults
	}
}

func (a *API) show(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	view, err := a.service.Get(r.Context(), id)
	if err != nil {
		return err
	}
	steps, err := a.scans.Timeline(r.Context(), id)
	if err != nil {
		return err
	}
	v := viewAll(view, mayUnmask(t))
	v.Scans, v.TrackingURL = viewScans(steps), a.trackingURL(t, id)
	interventions, err := a.service.InterventionsOf(r.Context(), id)
	if err != nil {
		return err
	}
	for _, i := range interventions {
		shown := viewIntervention(i)
		shown.To = viewPlace(i, mayUnmask(t))
		v.Interventions = append(v.Interventions, shown)
	}
	if v.Messages, err = a.messagesTo(r, id); err != nil {
		return err
	}
	if mayUnmask(t) {
		if v.Replies, err = a.repliesTo(r, id); err != nil {
			return err
		}
	}
	if v.Expected, err = a.expected(r, view.Delivery, steps); err != nil {
		return err
	}
	return writeTagged(w, r, v, func(body []byte) string { return deliveryTag(view.Seq, body) }, func() error {
		if !mayUnmask(t) {
			return nil
		}
		return a.seen(r, t, "delivery.seen", id.String(), nil)
	})
}

func (a *API) list(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	q := r.URL.Query()
	f := courier.Filter{Status: courier.Status(q.Get("status")), PermitNo: q.Get("permit_no"), WaybillNo: q.Get("waybill_no"), Cursor: q.Get("cursor")}
	var err error
	if f.Limit, err = intParam(q.Get("limit"), 100, 1, 500); err != nil {
		return badParam("limit", "应为 1 到 500 的整数")
	}
	if s := q.Get("updated_after"); s != "" {
		if f.UpdatedAfter, err = time.Parse(time.RFC3339, s); err != nil {
			return badParam("updated_after", "应为 RFC 3339 时间，例如 2026-11-22T09:00:00+08:00")
		}
	}
	page, err := a.service.List(r.Context(), f)
	if err != nil {
		return err
	}
	out := struct {
		Deliveries []deliveryView `json:"deliveries"`
		Next       string         `json:"next_cursor,omitempty"`
	}{Deliveries: []deliveryView{}, Next: page.Next}
	if mayUnmask(t) {
		if err := a.seenList(r, t, page.Deliveries); err != nil {
			return err
		}
	}
	for _, d := range page.Deliveries {
		out.Deliveries = append(out.Deliveries, viewDelivery(d, mayUnmask(t)))
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func (a *API) label(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	pdf, err := a.labels.LabelOf(r.Context(), id)
	if err != nil {
		return err
	}
	if err := a.seen(r, t, "label.seen", id.String(), nil); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(pdf)
	return nil
}

// quote tells the fee for a destination.
func (a *API) quote(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		Province string `json:"province" need:"请填写省级行政区全称，例如 北京市"`
		WeightG  int    `json:"weight_g"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	fee, err := a.service.Quote(r.Context(), in.Province, in.WeightG)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Province string `json:"province"`
		Zone     string `json:"zone"`
		FeeFen   int64  `json:"fee_fen"`
	}{in.Province, fee.Zone, fee.Fen})
	return nil
}

func intParam(s string, fallback, low, high int) (int, error) {
	if s == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, strconv.ErrRange
	}
	return n, nil
}

func badParam(name, detail string) error {
	p := web.NewProblem(http.StatusBadRequest, "bad_parameter", "参数 "+name+" "+detail)
	p.Errors = []web.Pointer{{Pointer: "?" + name, Code: "format", Detail: detail}}
	return p
}
