package api

import (
	"bytes"
	"net/http"

	"emsd/courier"
)

// An answer is kept back until it is stored.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// replay gives an answer again.
func (a *answer) replay(s *courier.StoredAnswer) {
	a.header.Set("Content-Type", s.ContentType)
	a.header.Set("Cache-Control", "no-store")
	a.header.Set("Idempotency-Replayed", "true")
	if s.Location != "" {
		a.header.Set("Location", s.Location)
	}
	a.status = s.Status
	a.body.Write(s.Body)
}

func (a *answer) stored() courier.StoredAnswer {
	return courier.StoredAnswer{Status: a.status, ContentType: a.header.Get("Content-Type"), Location: a.header.Get("Location"), Body: a.body.Bytes()}
}

// send gives the answer to the caller; one who is gone finds it under the key.
func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes())
}
