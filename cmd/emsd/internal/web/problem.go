// Package web is what the faces of emsd share: problems as answers, the request log, limits. It knows no page and no
// call of the API.
package web

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"emsd/courier"
)

// A Problem is an error as RFC 9457 has it. Code is stable; Detail is plain Chinese and says what to do.
type Problem struct {
	Type       string    `json:"type"`
	Title      string    `json:"title"`
	Status     int       `json:"status"`
	Code       string    `json:"code"`
	Detail     string    `json:"detail,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	DeliveryID string    `json:"delivery_id,omitempty"`
	After      int64     `json:"after,omitempty"` // with 410: position behind which everything is still there
	Errors     []Pointer `json:"errors,omitempty"`
}

// A Pointer is one fault and where it stands in what was posted.
type Pointer struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// NewProblem makes a problem from its status, code and detail.
func NewProblem(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Describe is the one place that says what an error means to a caller. What it does not know is a 500 without detail.
func Describe(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if f, ok := errors.AsType[courier.Faults](err); ok {
		return FaultsProblem(f)
	}
	if l, ok := errors.AsType[*courier.LiveDelivery](err); ok {
		p := NewProblem(http.StatusConflict, "permit_has_live_delivery", "该居住证已有一件在途或已妥投的寄递，不能重复寄递")
		p.DeliveryID = l.ID.String()
		return p
	}
	if c, ok := errors.AsType[*courier.Conflict](err); ok {
		return NewProblem(http.StatusConflict, c.Code, c.Detail)
	}
	if g, ok := errors.AsType[*courier.Gone](err); ok {
		p := NewProblem(http.StatusGone, g.Code, g.Detail)
		p.After = g.After
		return p
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return NewProblem(http.StatusRequestEntityTooLarge, "body_too_large", "请求内容超过上限，请分批提交")
	}
	if _, ok := errors.AsType[*courier.CarrierError](err); ok {
		return NewProblem(http.StatusBadGateway, "carrier_failed", "EMS 没有给出所需的答复，请稍后重试")
	}
	switch {
	case errors.Is(err, courier.ErrNotFound):
		return NewProblem(http.StatusNotFound, "not_found", "没有找到该记录，请核对编号")
	case errors.Is(err, courier.ErrStale):
		return NewProblem(http.StatusConflict, "changed_meanwhile", "该寄递刚刚有变化，请刷新后重试")
	}
	return NewProblem(http.StatusInternalServerError, "internal", "系统内部错误，请稍后重试；如持续出现请联系运维人员")
}

// FaultsProblem lists every fault of what was posted.
func FaultsProblem(faults courier.Faults) *Problem {
	p := NewProblem(http.StatusUnprocessableEntity, "invalid", "提交的内容有误，请按 errors 逐项更正后重新提交")
	for _, f := range faults {
		p.Errors = append(p.Errors, Pointer{f.Pointer(), f.Code, f.Detail})
	}
	return p
}

// RefusedProblem says that a rule does not allow the delivery, which is recorded all the same.
func RefusedProblem(rule, reason, deliveryID string) *Problem {
	p := NewProblem(http.StatusUnprocessableEntity, "rule_refused", reason)
	p.Rule, p.DeliveryID = rule, deliveryID
	return p
}

// WriteProblem answers with err; what is our own fault is logged, what is the caller's is not.
func WriteProblem(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	p := Describe(err)
	if p.Status >= 500 {
		log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "trace", traceID(r.Context()), "error", err)
	}
	WriteJSON(w, p.Status, "application/problem+json", p)
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil { // our own types: a fault in the program
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
