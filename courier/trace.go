package courier

import "context"

type traceKey struct{}

// WithTrace keeps the W3C traceparent of a request, so that calls made for it carry it on.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// TraceOf gives the traceparent of the request that ctx belongs to; empty outside of one.
func TraceOf(ctx context.Context) string {
	trace, _ := ctx.Value(traceKey{}).(string)
	return trace
}
