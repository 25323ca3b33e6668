package notify

import (
	"context"
	"log/slog"
)

// LogGateway sends nothing: it logs that it would have. It serves demos and sites that have no contract yet.
type LogGateway struct{ log *slog.Logger }

// NewLogGateway returns the gateway named log.
func NewLogGateway(log *slog.Logger) *LogGateway { return &LogGateway{log} }

// Name is the gateway's name in configuration and attempts.
func (g *LogGateway) Name() string { return "log" }

// Send accepts every message. Number, name and text stay out of the log (I-9).
func (g *LogGateway) Send(_ context.Context, s SMS) (Sent, error) {
	g.log.Info("message not sent: the gateway is the log", "milestone", string(s.Milestone), "attempt", s.AttemptID.String(), "segments", s.Segments)
	return Sent{ProviderID: s.AttemptID.String()}, nil
}
