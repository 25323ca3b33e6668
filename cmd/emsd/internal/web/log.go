package web

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Log writes one line per request: the route's pattern, never the path, for a path may hold a resident's token, and
// never the query. A panic becomes a 500 and a line with its stack.
func Log(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.Error("request panicked", "route", r.Pattern, "stack", string(debug.Stack()))
				if rec.status == 0 {
					WriteProblem(rec, r, log, NewProblem(http.StatusInternalServerError, "internal", "系统内部错误，请稍后重试"))
				}
			}
			log.Debug("request", "method", r.Method, "route", r.Pattern, "status", rec.status, "bytes", rec.bytes, "took", time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// A recorder remembers status and size for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
