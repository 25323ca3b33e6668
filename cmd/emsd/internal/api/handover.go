package api

import (
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"

	"github.com/google/uuid"
)

// readTime reads a time that may be left out.
func readTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, courier.Faults{{Field: field, Code: "format", Detail: "应为 RFC 3339 时间，例如 2026-11-22T09:00:00+08:00"}}
	}
	return at, nil
}

func idText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

// handOver records that one envelope was given to EMS's courier.
func (a *API) handOver(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Reason string `json:"reason"`
		At     string `json:"at" moment:"true"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	at, err := readTime("at", in.At)
	if err != nil {
		return err
	}
	d, err := a.service.HandOver(r.Context(), id, at, in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewDelivery(d, false))
	return nil
}

type handOverView struct {
	WaybillNo  string `json:"waybill_no"`
	Result     string `json:"result"`
	DeliveryID string `json:"delivery_id,omitempty"`
}

// handOverAll records a list of scanned envelopes, with a result for each.
func (a *API) handOverAll(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		WaybillNos []string `json:"waybill_nos" need:"请扫描或填写至少一个运单号"`
		At         string   `json:"at" moment:"true"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	at, err := readTime("at", in.At)
	if err != nil {
		return err
	}
	results, err := a.service.HandOverAll(r.Context(), in.WaybillNos, at, t.Name)
	if err != nil {
		return err
	}
	out := struct {
		Recorded int            `json:"recorded"`
		Results  []handOverView `json:"results"`
	}{Results: make([]handOverView, len(results))}
	for i, x := range results {
		out.Results[i] = handOverView{x.WaybillNo, string(x.Outcome), idText(x.DeliveryID)}
		if x.Outcome == courier.HandOverRecorded {
			out.Recorded++
		}
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}
