package api

import (
	"net/http"

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

// interveneBody is what EMS is to do, as posted; the address belongs to a readdressing.
type interveneBody struct {
	Kind     string       `json:"kind" need:"应为以下之一：readdress、withdraw、urge、redeliver" oneof:"readdress withdraw urge redeliver"`
	Reason   string       `json:"reason" need:"请填写原因"`
	Province string       `json:"province"`
	City     string       `json:"city"`
	County   string       `json:"county"`
	Address  vault.Secret `json:"address"`
}

func (b *interveneBody) place() courier.Recipient {
	return courier.Recipient{Province: b.Province, City: b.City, County: b.County, Address: b.Address}
}

func (b *interveneBody) check() courier.Faults {
	if b.Kind != courier.InterveneReaddress {
		return nil
	}
	return courier.CheckDestination(b.place())
}

// intervene has EMS do something with an envelope that it has.
func (a *API) intervene(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in interveneBody
	if err := readJSON(r, &in); err != nil {
		return err
	}
	i, err := a.service.Intervene(r.Context(), id, in.Kind, in.place(), in.Reason, t.Name)
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
		Result string `json:"result" need:"应为以下之一：done、failed" oneof:"done failed"`
		Reason string `json:"reason" need:"请填写原因"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	i, err := a.service.CloseIntervention(r.Context(), id, intervention, in.Result, in.Reason, t.Name)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewIntervention(i))
	return nil
}
