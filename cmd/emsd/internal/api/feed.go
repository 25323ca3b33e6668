package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// maxWait bounds a long-poll: proxies cut connections that stay silent for a minute.
const maxWait = 50 * time.Second

type eventView struct {
	Position   int64           `json:"position"`
	DeliveryID string          `json:"delivery_id"`
	Seq        int             `json:"seq"`
	Type       string          `json:"type"`
	At         string          `json:"at"`
	Data       json.RawMessage `json:"data"`
}

// events answers the feed behind a position. With wait= and nothing new it waits for the next event.
func (a *API) events(w http.ResponseWriter, r *http.Request, t courier.Token) error {
	q := r.URL.Query()
	after := int64(0)
	if s := q.Get("after"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return badParam("after", "应为上次读到的 position")
		}
		after = n
	}
	limit, err := intParam(q.Get("limit"), 500, 1, 5000)
	if err != nil {
		return badParam("limit", "应为 1 到 5000 的整数")
	}
	var wait time.Duration
	if s := q.Get("wait"); s != "" {
		if wait, err = time.ParseDuration(s); err != nil || wait < 0 || wait > maxWait {
			return badParam("wait", "应为 0s 到 50s 的时长，例如 30s")
		}
	}
	extend(w, wait)
	events, err := a.await(r, after, limit, wait)
	if err != nil {
		return err
	}
	out := struct {
		Events []eventView `json:"events"`
		After  int64       `json:"after"` // ask for this next
	}{Events: make([]eventView, len(events)), After: after}
	for i, e := range events {
		out.Events[i] = eventView{e.Position, e.DeliveryID.String(), e.Seq, string(e.Type), e.At.UTC().Format(time.RFC3339Nano), e.Data}
		out.After = e.Position
	}
	web.WriteJSON(w, http.StatusOK, "application/json", out)
	return nil
}

func (a *API) await(r *http.Request, after int64, limit int, wait time.Duration) ([]courier.Event, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		grown := a.feed.Grew() // taken before the look, so that what comes in between wakes us
		events, err := courier.ResumeFeed(r.Context(), a.db, after, limit)
		if err != nil || len(events) > 0 || wait == 0 {
			return events, err
		}
		select {
		case <-grown:
		case <-timeout.C:
			return nil, nil
		case <-a.feed.Stopping:
			return nil, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}
