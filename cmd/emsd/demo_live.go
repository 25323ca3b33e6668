package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"emsd/courier"
)

// A liveTable shows counts per status: moving in place on a terminal, a line now and then elsewhere.
type liveTable struct {
	w     io.Writer
	tty   bool
	lines int
	last  time.Time
}

func newLiveTable(w io.Writer) *liveTable { return &liveTable{w: w, tty: terminal(w)} }

func (t *liveTable) show(counts map[courier.Status]int, open openWork, now time.Time, took time.Duration) {
	if !t.tty {
		if time.Since(t.last) >= 3*time.Second {
			t.last = time.Now()
			fmt.Fprintf(t.w, "%5.1fs  %s  %s; open: %s\n", took.Seconds(), now.In(beijing).Format("01-02 15:04"), inline(counts), open)
		}
		return
	}
	t.rewind()
	fmt.Fprintf(t.w, "\x1b[2K%s Beijing, %.1f s\n", now.In(beijing).Format("2006-01-02 15:04"), took.Seconds())
	t.lines = 1
	most := 1
	for _, n := range counts {
		most = max(most, n)
	}
	for _, s := range courier.Statuses {
		fmt.Fprintf(t.w, "\x1b[2K%18s %4d %s\n", s, counts[s], strings.Repeat("█", counts[s]*40/most))
		t.lines++
	}
	fmt.Fprintf(t.w, "\x1b[2Kopen: %s\n", open)
	t.lines++
}

func (t *liveTable) rewind() {
	if t.lines > 0 {
		fmt.Fprintf(t.w, "\x1b[%dA", t.lines)
	}
}

// end leaves the last picture where it is.
func (t *liveTable) end() { t.lines = 0 }

func inline(counts map[courier.Status]int) string {
	var parts []string
	for _, s := range courier.Statuses {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s, counts[s]))
		}
	}
	return strings.Join(parts, ", ")
}
