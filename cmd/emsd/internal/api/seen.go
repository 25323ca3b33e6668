package api

import (
	"net/http"
	"strconv"

	"emsd/courier"
	"emsd/courier/audit"

	"github.com/google/uuid"
)

// seen writes down that a token saw names, phones and addresses in clear: one entry a look, before anything is shown.
func (a *API) seen(r *http.Request, t courier.Token, action, object string, detail map[string]string) error {
	return audit.Queue(r.Context(), a.db, audit.Entry{At: a.clock.Now(), Actor: t.Name, Action: action, Object: object, Detail: detail})
}

// seenList is seen for a page of deliveries, with the id of each.
func (a *API) seenList(r *http.Request, t courier.Token, list []courier.Delivery) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	return a.seenMany(r, t, "deliveries.seen", ids)
}

// seenMany is one entry about a page of deliveries, which its pages hold at most as many of as an entry names.
func (a *API) seenMany(r *http.Request, t courier.Token, action string, ids []uuid.UUID) error {
	detail := audit.About(map[string]string{"count": strconv.Itoa(len(ids))}, ids)
	return a.seen(r, t, action, ids[0].String(), detail)
}
