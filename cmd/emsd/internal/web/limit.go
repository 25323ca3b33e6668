package web

import "net/http"

// MaxBody is the most that one ordinary request may post; a batch has a limit of its own.
const MaxBody = 1 << 20

// LimitBody refuses bodies over max bytes with a 413 when they are read.
func LimitBody(max int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, max)
		next.ServeHTTP(w, r)
	})
}
