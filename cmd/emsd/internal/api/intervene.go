package api

import (
	"net/http"
	"strings"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

type interventionView struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	State     string `json:"state"`
	WaybillNo string `json:"waybill_no"`
	AskedAt   string `json:"asked_at"`
	AskedBy   string `json:"asked_by"`
	Reason    string `json:"reason"`
	Detail    string `json:"detail,omitempty"`

	To *placeView `json:"to,omitempty"`
}

// placeView is the new address of a readdressing, masked as a recipient's is.
type placeView struct {
	Province string `json:"province"`
	City     string `json:"city"`
	County   string `json:"county"`
	Address  string `json:"address"`
}

// viewPlace gives a clerk who telephones the address to tell.
func viewPlace(i courier.Intervention, clear bool) *placeView {
	if i.To.IsZero() {
		return nil
	}
	v := &placeView{i.Province, i.City, i.County, vault.MaskAddress(i.To)}
	if clear {
		v.Address = i.To.Reveal()
	}
	return v
}

// viewIntervention leaves the new address out: answers to a POST are stored under their key.
func viewIntervention(i courier.Intervention) interventionView {
	return interventionView{ID: i.ID.String(), Kind: i.Kind, State: i.State, WaybillNo: i.WaybillNo, AskedAt: timeText(i.AskedAt), AskedBy: i.AskedBy,
		Reason: i.Reason, Detail: i.Detail}
}

// intervene has EMS do something with an envelope that it has.
func (a *API) intervene(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Kind     string       `json:"kind"`
		Reason   string       `json:"reason"`
		Province string       `json:"province"`
		City     string       `json:"city"`
		County   string       `json:"county"`
		Address  vault.Secret `json:"address"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return courier.Faults{reasonMissing}
	}
	to := courier.Recipient{Province: in.Province, City: in.City, County: in.County, Address: in.Address}
	i, err := a.service.Intervene(r.Context(), id, in.Kind, to, in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewIntervention(i))
	return nil
}

// closeIntervention records what came of one that a clerk arranged, or that EMS left open.
func (a *API) closeIntervention(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	intervention, err := uuid.Parse(r.PathValue("intervention"))
	if err != nil {
		return courier.ErrNotFound
	}
	var in struct {
		Result string `json:"result"`
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return courier.Faults{reasonMissing}
	}
	i, err := a.service.CloseIntervention(r.Context(), id, intervention, in.Result, in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewIntervention(i))
	return nil
}
