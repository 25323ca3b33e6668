package ems

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestCountersStartAtZeroAndCountByKind(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	if got := value(t, reg, "emsd_ems_calls_total", "040001", "refused"); got != 0 {
		t.Errorf("refused before any call: %v, want 0", got)
	}
	s, srv := newStub(t, says(envelope("00000", "", "")))
	c, err := New(config(srv.URL), nil, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	_, _ = c.Trace(t.Context(), "1", 0)
	_, _ = c.Trace(t.Context(), "", 0)
	s.answer = says("")
	_, _ = c.Trace(t.Context(), "1", 0)
	_, _ = c.CreateWaybill(t.Context(), testOrder())
	for _, want := range []struct {
		name, api, outcome string
		n                  float64
	}{
		{"emsd_ems_calls_total", "040001", "ok", 1},
		{"emsd_ems_calls_total", "040001", "refused", 1},
		{"emsd_ems_calls_total", "040001", "unknown", 1},
		{"emsd_ems_calls_total", "020003", "unknown", 1},
		{"emsd_ems_calls_total", "020003", "unsent", 0},
		{"emsd_ems_retries_total", "040001", "", 2},
		{"emsd_ems_retries_total", "020003", "", 0},
		{"emsd_ems_attempt_seconds", "040001", "", 4},
	} {
		if got := value(t, reg, want.name, want.api, want.outcome); got != want.n {
			t.Errorf("%s %s %s: %v, want %v", want.name, want.api, want.outcome, got, want.n)
		}
	}
}

// value finds a counter, or a histogram's count.
func value(t *testing.T, reg *prometheus.Registry, name, api, outcome string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.String()
			if f.GetName() != name || !strings.Contains(labels, `"`+api+`"`) || !strings.Contains(labels, outcome) {
				continue
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no %s{%s,%s}", name, api, outcome)
	return 0
}
