package web

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"emsd/courier"
)

// Log writes one line per request: the route's pattern, never the path, for a path may hold a resident's token, and
// never the query; and the trace that the request belongs to, which is answered, too. A panic becomes a 500 and a line with its stack.
func Log(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, t := time.Now(), newTrace(r.Header.Get("traceparent"))
		w.Header().Set("traceparent", t.String())
		r = r.WithContext(courier.WithTrace(r.Context(), t.String()))
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.Error("request panicked", "route", r.Pattern, "trace", t.id, "stack", string(debug.Stack()))
				if rec.status == 0 {
					WriteProblem(rec, r, log, NewProblem(http.StatusInternalServerError, "internal", "系统内部错误，请稍后重试"))
				}
			}
			log.Debug("request", "method", r.Method, "route", r.Pattern, "status", rec.status, "bytes", rec.bytes, "took", time.Since(start), "trace", t.id)
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
