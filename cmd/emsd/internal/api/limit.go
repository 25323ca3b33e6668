package api

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

// How long a call may take to be read and to be answered. A batch and a long-poll set their own.
const (
	readWithin  = time.Minute
	writeWithin = 90 * time.Second
)

// timed gives a call its time. A read that takes longer ends the request, which frees what its work holds.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		extend(w, 0)
		next.ServeHTTP(w, r)
	})
}

// extend gives a call more time from now on. Where there is no connection, as in a test's recorder, there is no limit.
func extend(w http.ResponseWriter, more time.Duration) {
	rc, now := http.NewResponseController(w), time.Now()
	rc.SetReadDeadline(now.Add(readWithin + more))
	rc.SetWriteDeadline(now.Add(writeWithin + more))
}

// readable refuses parameters that no database takes as text.
func readable(r *http.Request) error {
	for name, values := range r.URL.Query() {
		if v := strings.Join(values, ""); !utf8.ValidString(name+v) || strings.Contains(name+v, "\x00") {
			return badParam(courier.ShownName(name), "不是有效的 UTF-8 文本")
		}
	}
	if key := r.Header.Get("Idempotency-Key"); !utf8.ValidString(key) {
		return badParam("Idempotency-Key", "不是有效的 UTF-8 文本")
	}
	return nil
}

// A limiter bounds the calls of each token; a zero rate does not.
type limiter struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex
	byToken map[uuid.UUID]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, byToken: map[uuid.UUID]*rate.Limiter{}}
}

// of gives the bucket of a token; there are as many as tokens that were used since the start.
func (l *limiter) of(t courier.Token) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.byToken[t.ID]
	if b == nil {
		b = rate.NewLimiter(l.rate, l.burst)
		l.byToken[t.ID] = b
	}
	return b
}

// allow counts a call, or says when to come again.
func (l *limiter) allow(w http.ResponseWriter, t courier.Token) error {
	if l.rate == 0 {
		return nil
	}
	turn := l.of(t).Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	turn.Cancel()
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return web.NewProblem(http.StatusTooManyRequests, "too_many_requests", "该令牌的请求过于频繁，请按 Retry-After 的秒数稍后再试")
}

// linesPerCall is how many lines of a batch count as one call.
const linesPerCall = 100

// lines makes a batch wait for its turn instead of refusing it in the middle.
func (l *limiter) lines(ctx context.Context, t courier.Token, n int) error {
	if l.rate == 0 || n == 0 {
		return nil
	}
	return l.of(t).WaitN(ctx, min((n+linesPerCall-1)/linesPerCall, l.burst))
}
