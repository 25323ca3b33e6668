package courier

import "context"

type stationKey struct{}

// OfStation limits what is read and changed through ctx to the deliveries of one station: everything else is not there.
// The faces put it into the context of a counter clerk's request; every statement that finds deliveries for a caller
// honours it (see ofStation), so that no page has to remember it. An empty code limits nothing.
func OfStation(ctx context.Context, code string) context.Context {
	if code == "" {
		return ctx
	}
	return context.WithValue(ctx, stationKey{}, code)
}

// StationOf tells the station that ctx is limited to; empty when it is not.
func StationOf(ctx context.Context) string {
	code, _ := ctx.Value(stationKey{}).(string)
	return code
}
