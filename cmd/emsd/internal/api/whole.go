package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// wholeLimit bounds work that no longer hangs on its connection.
const wholeLimit = time.Minute

// An act is a handler whose API is handed to it: the service in it is bound to one transaction.
type act func(a *API, w http.ResponseWriter, r *http.Request, t courier.Token) error

// errAnswered ends the transaction of an answer that was given before; nothing is written.
var errAnswered = errors.New("answered before")

// whole makes the work of a POST and its answer one transaction where the caller asked for that: with If-Match nobody
// changes what was looked at in between; with an Idempotency-Key the same key and body give the stored answer, another
// body is a 422, and a 409 while the first is in progress. Whatever ends the process before the commit leaves neither
// work nor key; what ends it afterwards leaves both. An answer of 5xx is not kept: the caller is meant to try again.
func (a *API) whole(do act, check precondition) handler {
	return func(w http.ResponseWriter, r *http.Request, t courier.Token) error {
		key, match := r.Header.Get("Idempotency-Key"), r.Header.Get("If-Match")
		if key == "" && match == "" {
			return do(a, w, r, t)
		}
		if len(key) > 255 {
			return web.NewProblem(http.StatusBadRequest, "idempotency_key_too_long", "Idempotency-Key 最长 255 个字符")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		// A caller who gives up must find the answer under the key: from here on the work no longer hangs on its connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wholeLimit)
		defer cancel()
		r = r.WithContext(ctx)
		hash := sha256.Sum256(append([]byte(r.Method+" "+r.URL.Path+"\n"), body...))
		var rec *answer
		err = a.service.Together(ctx, func(s *courier.Service) error {
			rec = &answer{header: http.Header{}, status: http.StatusOK}
			if key != "" {
				stored, err := s.OpenIdempotent(ctx, t.ID, key, hash[:])
				if err != nil {
					return err
				}
				if stored != nil {
					rec.replay(stored)
					return errAnswered
				}
			}
			again := r.WithContext(ctx)
			again.Body = io.NopCloser(bytes.NewReader(body))
			if err := a.within(s).perform(do, check, match, rec, again, t); err != nil {
				return err
			}
			a.hook("api.worked")
			if key == "" {
				return nil
			}
			if err := s.StoreIdempotent(ctx, t.ID, key, hash[:], rec.stored()); err != nil {
				return err
			}
			a.hook("api.stored")
			return nil
		})
		if err != nil && err != errAnswered {
			return err
		}
		a.hook("api.committed")
		rec.send(w)
		return nil
	}
}

// within is the API whose services write into the transaction of s.
func (a *API) within(s *courier.Service) *API {
	bound, h := *a, s.Handle()
	bound.service, bound.hooks, bound.refusals, bound.calls, bound.codes = s, a.hooks.On(h), a.refusals.On(h), a.calls.On(h), a.codes.On(h)
	return &bound
}

// perform does the work unless the precondition fails; a problem that the caller can mend is its answer, and what the
// failed part of the work wrote is undone by the service.
func (a *API) perform(do act, check precondition, match string, rec *answer, r *http.Request, t courier.Token) error {
	err := a.holds(check, match, r)
	if err == nil {
		err = do(a, rec, r, t)
	}
	if err == nil || web.Describe(err).Status >= 500 {
		return err
	}
	web.WriteProblem(rec, r, a.log, err)
	return nil
}
