package api

import (
	"net/http"
	"strconv"
	"strings"

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
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = shortID(d.ID)
	}
	return a.seen(r, t, "deliveries.seen", list[0].ID.String(), map[string]string{"count": strconv.Itoa(len(list)), "ids": strings.Join(ids, " ")})
}

// shortID leaves the dashes out: 500 of them fit into an entry twice over.
func shortID(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "") }
