package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(ChildEnv) != "" {
		if err := Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// session is what the daemon sets; cmd/emsd hands over its own.
const session = "-c random_page_cost=1.1 -c jit=off -c TimeZone=UTC"

// tiny measures everything, and little of it.
var tiny = Sizes{Rounds: 1, Polls: 600, Orders: 600, Snapshot: 600, Pairs: 1, Young: 600, Starts: 1, Rows: []int{600, 6000}, Claims: 3, Due: 600,
	Crowd: 128, Crowds: []int{64}, SlowSeconds: 1, DueSeconds: 0.5, Active: 20_000, Known: 600, PlanSeconds: 1.5, PlanTick: 0.2, OldRows: 600, Million: 600, Permits: 600, Payments: 5,
	Messages: 400, NewsSeconds: 0.2, Feed: 2000, HookSeconds: 0.2, ReceiptSeconds: 0.2}

func TestEveryMeasurementRuns(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	report, err := Run(t.Context(), Options{Self: []string{self}, Session: session, Sizes: tiny, Progress: io.MultiWriter(&said, t.Output())})
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	var page bytes.Buffer
	if err := report.Write(&page); err != nil {
		t.Fatal(err)
	}
	t.Log(page.String())
	for _, id := range []string{"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "S1", "S2", "S3", "S4", "S5", "S6", "A1", "A2", "A3", "A4", "M1", "M2", "F1", "R1", "W1", "C1", "C2"} {
		if !strings.Contains(page.String(), "\n| "+id+" |") {
			t.Errorf("the report has no row for %s", id)
		}
	}
}
