package api

import (
	"net/http"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/audit"
	"emsd/tracking"

	"github.com/jmoiron/sqlx"
)

type unknownCodeView struct {
	Code      string `json:"code"`
	Name      string `json:"name"`
	Scans     int64  `json:"scans"`
	FirstAt   string `json:"first_at"`
	LastAt    string `json:"last_at"`
	Example   string `json:"example_delivery_id"`
	ExampleAt string `json:"example_scan_at"`
}

// unknownCodes answers the quarantine: codes that nobody has decided about.
func (a *API) unknownCodes(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	list, err := tracking.UnknownCodes(r.Context(), a.db)
	if err != nil {
		return err
	}
	out := []unknownCodeView{}
	for _, u := range list {
		out = append(out, unknownCodeView{u.Code, u.Name, u.Seen, timeText(u.FirstAt), timeText(u.LastAt), u.Example.String(), timeText(u.ExampleAt)})
	}
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Codes []unknownCodeView `json:"codes"`
	}{out})
	return nil
}

type decisionView struct {
	ID        int64  `json:"id"`
	Code      string `json:"code"`
	Name      string `json:"name,omitempty"`
	Meaning   string `json:"meaning"`
	Sentence  string `json:"sentence,omitempty"`
	ValidFrom string `json:"valid_from"`
	DecidedAt string `json:"decided_at"`
	DecidedBy string `json:"decided_by"`
	Reason    string `json:"reason"`

	Applied *appliedView `json:"applied,omitempty"` // to what was stored before
}

type appliedView struct {
	DoneAt string `json:"done_at,omitempty"` // none: under way
	foldView
}

// foldView is what came, or would come, of folding deliveries anew.
type foldView struct {
	Looked  int            `json:"deliveries_looked_at"`
	Changed int            `json:"deliveries_changed"`
	Kinds   map[string]int `json:"changes"`
	Skipped int            `json:"deliveries_skipped"`
	Bygone  int            `json:"deliveries_without_scans"`
}

func viewFold(r tracking.RefoldReport) foldView {
	v := foldView{r.Looked, r.Changed, r.Kinds, r.Skipped, r.Bygone}
	if v.Kinds == nil {
		v.Kinds = map[string]int{}
	}
	return v
}

func viewDecision(d tracking.RecordedDecision) decisionView {
	v := decisionView{ID: d.ID, Code: d.Code, Name: d.Name, Meaning: d.Meaning, Sentence: d.Sentence, ValidFrom: timeText(d.ValidFrom),
		DecidedAt: timeText(d.At), DecidedBy: d.By, Reason: d.Reason}
	if d.Applied != nil {
		v.Applied = &appliedView{timeText(d.Applied.DoneAt), viewFold(d.Applied.RefoldReport)}
	}
	return v
}

// decisions answers what was decided about codes, the newest first.
func (a *API) decisions(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	list, err := tracking.Decisions(r.Context(), a.db)
	if err != nil {
		return err
	}
	out := []decisionView{}
	for _, d := range list {
		out = append(out, viewDecision(d))
	}
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Decisions []decisionView `json:"decisions"`
	}{out})
	return nil
}

// firstScan is before every scan that EMS can still tell of.
var firstScan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// decide records what a code means; a round applies it to what is stored. With dry_run it only tells what would change.
func (a *API) decide(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		Code      string    `json:"code" need:"请填写代码"`
		Name      string    `json:"name"`
		Meaning   string    `json:"meaning" need:"请填写含义"`
		Sentence  string    `json:"sentence"`
		ValidFrom time.Time `json:"valid_from"`
		Reason    string    `json:"reason" need:"请填写原因"`
		DryRun    bool      `json:"dry_run"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.ValidFrom.IsZero() {
		in.ValidFrom = firstScan
	}
	d := tracking.Decision{Code: strings.TrimSpace(in.Code), Name: in.Name, Meaning: strings.TrimSpace(in.Meaning), Sentence: in.Sentence, ValidFrom: in.ValidFrom}
	if in.DryRun {
		report, err := a.codes.Forecast(r.Context(), d, in.Reason)
		if err != nil {
			return err
		}
		web.WriteJSON(w, http.StatusOK, "application/json", struct {
			foldView
			DryRun bool `json:"dry_run"`
		}{viewFold(report), true})
		return nil
	}
	made, err := a.codes.Decide(r.Context(), d, t.Name, in.Reason)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusAccepted, "application/json", viewDecision(made))
	return nil
}

// answers gives EMS's answers about a delivery as they came. They hold the data of people, so that whoever reads them says
// why, and that is kept in the audit before anything is shown.
func (a *API) answers(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(r.URL.Query().Get("reason"))
	if reason == "" || len(reason) > 300 {
		return badParam("reason", "请写明调阅原始记录的原因，不超过 100 字")
	}
	err = courier.InTx(r.Context(), a.db, func(tx *sqlx.Tx) error {
		return audit.Append(r.Context(), tx, audit.Entry{At: a.clock.Now(), Actor: t.Name, Action: "answers.read", Object: id.String(),
			Detail: map[string]string{"reason": reason}})
	})
	if err != nil {
		return err
	}
	list, err := tracking.ReadAnswers(r.Context(), a.db, a.vault, id)
	if err != nil {
		return err
	}
	type view struct {
		AskedAt     string `json:"asked_at"`
		Fingerprint int64  `json:"fingerprint,string"`
		Body        string `json:"body"`
	}
	out := []view{}
	for _, x := range list {
		out = append(out, view{timeText(x.AskedAt), x.Fingerprint, x.Body.Reveal()})
	}
	w.Header().Set("Cache-Control", "no-store")
	web.WriteJSON(w, http.StatusOK, "application/json", struct {
		Answers []view `json:"answers"`
	}{out})
	return nil
}
