package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"emsd/courier"
)

// A trace is a request's place in a W3C trace: which trace, and our part of it.
type trace struct {
	id, span, flags string
}

// newTrace goes on with the trace of a traceparent, or begins one: a header that is malformed counts as none.
func newTrace(traceparent string) trace {
	t := trace{span: random(8), flags: "00"}
	if id, flags, ok := parseTraceparent(traceparent); ok {
		t.id, t.flags = id, flags
		return t
	}
	t.id = random(16)
	return t
}

// traceID is the id of the trace that a request belongs to.
func traceID(ctx context.Context) string {
	id, _, _ := parseTraceparent(courier.TraceOf(ctx))
	return id
}

// String is the traceparent that is answered, and passed on.
func (t trace) String() string { return "00-" + t.id + "-" + t.span + "-" + t.flags }

// parseTraceparent reads version 00, and of a later version the part that is alike, as the W3C asks.
func parseTraceparent(h string) (id, flags string, ok bool) {
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00")
	if len(h) < length || len(h) > length && (h[:2] == "00" || h[length] != '-') {
		return "", "", false
	}
	parts := strings.Split(h[:length], "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return "", "", false
	}
	for _, p := range parts {
		if strings.Trim(p, "0123456789abcdef") != "" {
			return "", "", false
		}
	}
	if parts[0] == "ff" || strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return "", "", false
	}
	return parts[1], parts[3], true
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
