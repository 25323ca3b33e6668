package api

import (
	"net/http"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// cases answers the worklist: open cases by due time.
func (a *API) cases(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	q := r.URL.Query()
	limit, err := intParam(q.Get("limit"), 100, 1, 500)
	if err != nil {
		return badParam("limit", "应为 1 到 500 的整数")
	}
	page, err := a.service.Cases(r.Context(), courier.CaseFilter{Kind: courier.CaseKind(q.Get("kind")), Cursor: q.Get("cursor"), Limit: limit})
	if err != nil {
		return err
	}
	out := struct {
		Cases []caseView `json:"cases"`
		Next  string     `json:"next_cursor,omitempty"`
	}{Cases: []caseView{}, Next: page.Next}
	for _, c := range page.Cases {
		out.Cases = append(out.Cases, viewCase(c))
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func (a *API) closeCase(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in struct {
		Outcome string `json:"outcome" need:"请填写处理结果"`
		Why     string `json:"why" need:"请填写原因"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	c, err := a.service.CloseCase(r.Context(), id, in.Outcome, t.Name, in.Why)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "application/json", viewCase(c))
	return nil
}
