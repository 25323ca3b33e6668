package api

import (
	"errors"
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"
)

// returnView is a returned envelope; the name of whoever took it for the holder is never shown in clear.
type returnView struct {
	DeliveryID     string `json:"delivery_id"`
	WaybillNo      string `json:"waybill_no,omitempty"`
	PermitNo       string `json:"permit_no,omitempty"`
	StationCode    string `json:"station_code,omitempty"`
	OnShelf        bool   `json:"on_shelf"`
	Shelf          string `json:"shelf"`
	ReceivedAt     string `json:"received_at"`
	ReceivedBy     string `json:"received_by"`
	RetainUntil    string `json:"retain_until"`
	PickedUpAt     string `json:"picked_up_at,omitempty"`
	PickedUpBy     string `json:"picked_up_by,omitempty"`
	PickedUpWho    string `json:"picked_up_who,omitempty"`
	IDDocument     string `json:"id_document,omitempty"`
	AgentName      string `json:"agent_name,omitempty"`
	RedispatchedAs string `json:"redispatched_as,omitempty"`
	Disposal       string `json:"disposal,omitempty"`
	DisposedAt     string `json:"disposed_at,omitempty"`
	DisposedBy     string `json:"disposed_by,omitempty"`
}

func viewReturn(r courier.Return) returnView {
	v := returnView{DeliveryID: r.DeliveryID.String(), WaybillNo: r.WaybillNo, PermitNo: r.PermitNo, StationCode: r.StationCode, OnShelf: r.OnShelf(),
		Shelf: r.Shelf, ReceivedAt: timeText(r.ReceivedAt), ReceivedBy: r.ReceivedBy, RetainUntil: r.RetainUntil.Format(time.DateOnly),
		PickedUpAt: timeText(r.PickedUpAt), PickedUpBy: r.PickedUpBy, PickedUpWho: r.PickedUpWho, IDDocument: r.IDDocument,
		RedispatchedAs: idText(r.RedispatchedAs), Disposal: r.Disposal, DisposedAt: timeText(r.DisposedAt), DisposedBy: r.DisposedBy}
	if !r.AgentName.IsZero() {
		v.AgentName = vault.MaskName(r.AgentName)
	}
	return v
}

// receiveReturn takes in an envelope by the barcode on it.
func (a *API) receiveReturn(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	var in struct {
		WaybillNo string `json:"waybill_no" need:"请扫描面单上的运单号"`
		Shelf     string `json:"shelf" need:"请填写架位号，例如 A-12"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	v, err := a.service.ReceiveReturn(r.Context(), in.WaybillNo, in.Shelf, t.Name)
	if errors.Is(err, courier.ErrNotFound) {
		return web.NewProblem(http.StatusNotFound, "unknown_waybill", "本系统没有这个运单号：请核对条码；不是居住证寄递的邮件请退还邮政")
	}
	return answerAll(w, v, err)
}

// answerAll answers a POST with the whole delivery, masked.
func answerAll(w http.ResponseWriter, v courier.View, err error) error {
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewAll(v, false))
	return nil
}

// returns lists what lies where, first what may be kept the shortest.
func (a *API) returns(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
	q := r.URL.Query()
	limit, err := intParam(q.Get("limit"), 100, 1, 500)
	if err != nil {
		return badParam("limit", "应为 1 到 500 的整数")
	}
	if s := q.Get("on_shelf"); s != "" && s != "true" && s != "false" {
		return badParam("on_shelf", "应为 true 或 false")
	}
	page, err := a.service.Returns(r.Context(), courier.ReturnFilter{OnShelf: q.Get("on_shelf") == "true", Cursor: q.Get("cursor"), Limit: limit})
	if err != nil {
		return err
	}
	out := struct {
		Returns []returnView `json:"returns"`
		Next    string       `json:"next_cursor,omitempty"`
	}{Returns: make([]returnView, len(page.Returns)), Next: page.Next}
	for i, x := range page.Returns {
		out.Returns[i] = viewReturn(x)
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func (a *API) moveReturn(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Shelf string `json:"shelf" need:"请填写架位号，例如 A-12"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	v, err := a.service.MoveReturn(r.Context(), id, in.Shelf, t.Name)
	return answerAll(w, v, err)
}

// dispose ends the keeping of an envelope that nobody came for, or whose permit is void.
func (a *API) dispose(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		How    string `json:"how" need:"应为以下之一：sent_back、destroyed" oneof:"sent_back destroyed"`
		Reason string `json:"reason" need:"请填写原因"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	v, err := a.service.Dispose(r.Context(), id, in.How, in.Reason, t.Name)
	return answerAll(w, v, err)
}

// pickUp records that a returned permit was handed out at the counter.
func (a *API) pickUp(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Who         string       `json:"who" need:"应为以下之一：holder、agent" oneof:"holder agent"`
		IDDocument  string       `json:"id_document" need:"请填写查验的身份证件" oneof:"resident_id temporary_id household_book police_certificate passport travel_permit"`
		AgentName   vault.Secret `json:"agent_name"`
		At          string       `json:"at" moment:"true"`
		Reason      string       `json:"reason"`
		PermitValid bool         `json:"permit_valid"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	at, err := readTime("at", in.At)
	if err != nil {
		return err
	}
	v, err := a.service.PickUp(r.Context(), id, courier.PickUp{Who: in.Who, IDDocument: in.IDDocument, AgentName: in.AgentName, At: at,
		Reason: in.Reason, PermitValid: in.PermitValid}, t.Name)
	return answerAll(w, v, err)
}

// redispatchBody is a re-dispatch as posted; a name or an ID number is refused as a field that there is not.
type redispatchBody struct {
	Consent struct {
		Source        string `json:"source"`
		At            string `json:"at" moment:"true"`
		NoticeVersion string `json:"notice_version"`
	} `json:"consent" need:"重新寄递须有申请人在退回之后的同意（来源与时间）"`
	PaymentMethod string `json:"payment_method" need:"应为以下之一：prepaid、collect"`
	Recipient     *struct {
		Phone    vault.Secret `json:"phone"`
		Province string       `json:"province"`
		City     string       `json:"city"`
		County   string       `json:"county"`
		Address  vault.Secret `json:"address"`
	} `json:"recipient"`
	Reason      string `json:"reason" need:"请填写原因"`
	PermitValid bool   `json:"permit_valid"`
}

// redispatch sends a returned permit again, as a new delivery.
func (a *API) redispatch(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in redispatchBody
	if err := readJSON(r, &in); err != nil {
		return err
	}
	again := courier.Redispatch{Consent: courier.Consent{Source: in.Consent.Source, NoticeVersion: in.Consent.NoticeVersion},
		PaymentMethod: in.PaymentMethod, PermitValid: in.PermitValid}
	if again.Consent.At, err = readTime("consent.at", in.Consent.At); err != nil {
		return err
	}
	if p := in.Recipient; p != nil {
		again.Recipient = &courier.Recipient{Phone: p.Phone, Province: p.Province, City: p.City, County: p.County, Address: p.Address}
	}
	res, err := a.service.Redispatch(r.Context(), id, again, in.Reason, t.Name)
	if err != nil {
		return err
	}
	status, err := outcome(res)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/deliveries/"+res.Delivery.ID.String())
	web.WriteJSON(w, status, "application/json", viewDelivery(res.Delivery, false))
	return nil
}
