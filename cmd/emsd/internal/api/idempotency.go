package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// once makes a POST repeatable under its Idempotency-Key: same key and body give the stored answer, another body is
// a 422, and a 409 while the first is in progress. An answer of 5xx is not kept: the caller is meant to try again.
func (a *API) once(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, t courier.Token) error {
		key := r.Header.Get("Idempotency-Key")
		if key == "" {
			return h(w, r, t)
		}
		if len(key) > 255 {
			return web.NewProblem(http.StatusBadRequest, "idempotency_key_too_long", "Idempotency-Key 最长 255 个字符")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		// A caller who gives up must find the answer under the key: from here on the work no longer hangs on its connection.
		r = r.WithContext(context.WithoutCancel(r.Context()))
		hash := sha256.Sum256(append([]byte(r.Method+" "+r.URL.Path+"\n"), body...))
		stored, err := a.service.BeginIdempotent(r.Context(), t.ID, key, hash[:])
		if err != nil {
			return err
		}
		if stored != nil {
			w.Header().Set("Content-Type", stored.ContentType)
			w.Header().Set("Idempotency-Replayed", "true")
			if stored.Location != "" {
				w.Header().Set("Location", stored.Location)
			}
			w.WriteHeader(stored.Status)
			_, err := w.Write(stored.Body)
			return err
		}
		rec := &answer{header: http.Header{}, status: http.StatusOK}
		if err := h(rec, r, t); err != nil {
			web.WriteProblem(rec, r, a.log, err)
		}
		return a.finish(w, r, t, key, rec)
	}
}

// finish stores the answer before it goes out, so that a caller who lost it finds the same one.
func (a *API) finish(w http.ResponseWriter, r *http.Request, t courier.Token, key string, rec *answer) error {
	var err error
	if rec.status >= 500 {
		err = a.service.ForgetIdempotent(r.Context(), t.ID, key)
	} else {
		err = a.service.FinishIdempotent(r.Context(), t.ID, key, courier.StoredAnswer{
			Status: rec.status, ContentType: rec.header.Get("Content-Type"), Location: rec.header.Get("Location"), Body: rec.body.Bytes()})
	}
	if err != nil {
		a.log.ErrorContext(r.Context(), "idempotent answer not stored", "route", r.Pattern, "error", err)
	}
	for name, values := range rec.header {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.status)
	_, err = w.Write(rec.body.Bytes())
	return err
}

// An answer is kept back until it is stored.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
